{{/* Names and labels. */}}

{{- define "rotated-secrets.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* At most 52 characters, so that the longest suffix fits. */}}
{{- define "rotated-secrets.fullname" -}}
{{- $name := include "rotated-secrets.name" . -}}
{{- $both := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $both .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "rotated-secrets.serviceAccountName" -}}
{{- default (include "rotated-secrets.fullname" .) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "rotated-secrets.leaseName" -}}
{{- default (include "rotated-secrets.fullname" .) .Values.leaderElection.leaseName -}}
{{- end -}}

{{/* The first part of a repository is a registry if it has a dot or a port, or is localhost. Source: "Image names", Kubernetes documentation. */}}
{{- define "rotated-secrets.image" -}}
{{- $repository := .Values.image.repository -}}
{{- with .Values.global.imageRegistry -}}
{{- $repository = printf "%s/%s" (trimSuffix "/" .) (regexReplaceAll "^(localhost|[^/]*[.:][^/]*)/" $repository "") -}}
{{- end -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* The value imagePullSecrets, and those that all charts share; empty if there are none. */}}
{{- define "rotated-secrets.imagePullSecrets" -}}
{{- $secrets := default list .Values.imagePullSecrets -}}
{{- range .Values.global.imagePullSecrets -}}
{{- $secrets = append $secrets (ternary (dict "name" .) . (kindIs "string" .)) -}}
{{- end -}}
{{- if $secrets }}{{ uniq $secrets | toYaml }}{{ end -}}
{{- end -}}

{{/* Labels that select the operator's pods. A Deployment's selector cannot be changed, so it has no labels that may change. */}}
{{- define "rotated-secrets.selectorLabels" -}}
app.kubernetes.io/name: {{ include "rotated-secrets.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{/* Labels of all objects. Takes a dict: root, and if there are any, the component and the user's own labels. */}}
{{- define "rotated-secrets.labels" -}}
{{- $ours := include "rotated-secrets.selectorLabels" .root | fromYaml -}}
{{- $_ := set $ours "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_") -}}
{{- $_ := set $ours "app.kubernetes.io/version" .root.Chart.AppVersion -}}
{{- $_ := set $ours "app.kubernetes.io/managed-by" .root.Release.Service -}}
{{- if .component }}{{ $_ := set $ours "app.kubernetes.io/component" .component }}{{ end -}}
{{- merge $ours (default dict .more) (default dict .root.Values.commonLabels) | toYaml -}}
{{- end -}}

{{/* Labels of the operator's pods, without those that change with each version of the chart: these would replace the pods. */}}
{{- define "rotated-secrets.podLabels" -}}
{{- merge (include "rotated-secrets.selectorLabels" . | fromYaml) (default dict .Values.podLabels) (default dict .Values.commonLabels) | toYaml -}}
{{- end -}}

{{/* Whether a value sets the authorities to trust for databases. */}}
{{- define "rotated-secrets.hasDatabaseCa" -}}
{{- with .Values.databases -}}
{{- if or .caBundle .caBundleConfigMap.name .caBundleSecret.name -}}true{{- end -}}
{{- end -}}
{{- end -}}

{{/* A probe that asks the operator, unless it does something else. Takes a dict: path, and the probe of the values. */}}
{{- define "rotated-secrets.probe" -}}
{{- $probe := deepCopy .probe -}}
{{- if not (or (hasKey $probe "exec") (hasKey $probe "grpc") (hasKey $probe "tcpSocket")) -}}
{{- $probe = merge $probe (dict "httpGet" (dict "path" .path "port" "metrics")) -}}
{{- end -}}
{{- toYaml $probe -}}
{{- end -}}

{{/* "true" if the cluster has this kind of the Prometheus operator, as far as Helm knows. Takes a dict: root and kind. */}}
{{- define "rotated-secrets.hasMonitoring" -}}
{{- if .root.Capabilities.APIVersions.Has (printf "monitoring.coreos.com/v1/%s" .kind) -}}true{{- end -}}
{{- end -}}

{{/* "true" if an object of this kind is to be created. Takes a dict: root, kind, and the values about it. */}}
{{- define "rotated-secrets.monitors" -}}
{{- if and .values.enabled (or (eq .values.renderMode "alwaysRender") (include "rotated-secrets.hasMonitoring" .)) -}}true{{- end -}}
{{- end -}}

{{- define "rotated-secrets.testLabels" -}}
app.kubernetes.io/name: {{ include "rotated-secrets.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: test
{{- end -}}
