{{/* Ports at which these values name an endpoint of AWS, a proxy or a receiver of webhooks, separated by spaces. */}}
{{- define "rotated-secrets.namedPorts" -}}
{{- $urls := compact (list .Values.aws.endpointUrl .Values.aws.stsEndpointUrl .Values.proxy.https .Values.proxy.http) -}}
{{- range .Values.databases.webhookHosts -}}
{{- $urls = append $urls (printf "https://%s" .) -}}
{{- end -}}
{{- range .Values.extraEnv -}}
{{- if and .value (regexMatch "(?i)^(https?_proxy|all_proxy|aws_endpoint_url(_[a-z0-9_]+)?)$" (toString .name)) -}}
{{- $urls = append $urls (toString .value) -}}
{{- end -}}
{{- end -}}
{{- $ports := list -}}
{{- range $urls -}}
{{- $address := regexReplaceAll "/.*$" (regexReplaceAll "^[A-Za-z0-9+.-]+://" . "") "" -}}
{{- $port := regexReplaceAll "^:0*" (regexFind ":[0-9]+$" $address) "" -}}
{{- $ports = append $ports (default (ternary "443" "80" (hasPrefix "https://" (lower .))) $port) -}}
{{- end -}}
{{- uniq $ports | join " " -}}
{{- end -}}

{{/* "true" if the operator may get AWS credentials from its node, as far as these values show. */}}
{{- define "rotated-secrets.nodeMetadata" -}}
{{- $identity := or .Values.aws.credentialsSecretName (get (default dict .Values.serviceAccount.annotations) "eks.amazonaws.com/role-arn") -}}
{{- range .Values.extraEnv -}}
{{- if has .name (list "AWS_ACCESS_KEY_ID" "AWS_WEB_IDENTITY_TOKEN_FILE" "AWS_CONTAINER_CREDENTIALS_FULL_URI") -}}
{{- $identity = .name -}}
{{- end -}}
{{- end -}}
{{- $asked := .Values.networkPolicy.nodeMetadata -}}
{{- if or (eq $asked "Allow") (and (eq $asked "Auto") (not $identity)) -}}
true
{{- end -}}
{{- end -}}

{{/*
Variables of the proxy. What is never behind it: the pod, the cluster, and what gives AWS credentials on the node. The kubelet puts in
the API server's address, in whatever way the cluster reaches it.
*/}}
{{- define "rotated-secrets.proxyEnv" -}}
{{- if or .Values.proxy.https .Values.proxy.http -}}
{{- with .Values.proxy.https }}
- name: HTTPS_PROXY
  value: {{ . | quote }}
{{- end }}
{{- with .Values.proxy.http }}
- name: HTTP_PROXY
  value: {{ . | quote }}
{{- end }}
- name: NO_PROXY
  value: {{ concat (list "localhost" "127.0.0.1" "::1" "$(KUBERNETES_SERVICE_HOST)" ".svc" ".cluster.local" "169.254.169.254" "169.254.170.2" "169.254.170.23" "fd00:ec2::254" "fd00:ec2::23") .Values.proxy.noProxy | join "," | quote }}
{{- end -}}
{{- end -}}
