{{/*
Checks that the schema cannot express, or only by patterns that are hard to read. All problems are reported together, one per
line: which value, what is wrong with it, and what to write.
*/}}

{{- define "rotated-secrets.validate" -}}
{{- $problems := printf "%s%s%s%s" (include "rotated-secrets.wrongTexts" .) (include "rotated-secrets.wrongLengths" .) (include "rotated-secrets.wrongNetworks" .) (include "rotated-secrets.wrongTogether" .) -}}
{{- $problems = printf "%s%s%s" $problems (include "rotated-secrets.wrongAmounts" .) (include "rotated-secrets.wrongRules" .) -}}
{{- if $problems -}}
{{- fail (printf "these values cannot be used:\n%s" (trimSuffix "\n" $problems)) -}}
{{- end -}}
{{- end -}}

{{/* Texts that must match a pattern. An empty text means not set. */}}
{{- define "rotated-secrets.wrongTexts" -}}
{{- $name := "[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?" -}}
{{- $namespace := "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?" -}}
{{- $key := "[-._a-zA-Z0-9]{1,253}" -}}
{{- $isName := "is no name in Kubernetes; write lower case letters, digits, - and ." -}}
{{- $isKey := "is no key of a ConfigMap or Secret; write letters, digits, -, _ and ." -}}
{{- $isUrl := "is no URL; write for example https://vpce-1234.secretsmanager.eu-west-1.vpce.amazonaws.com" -}}
{{- $proxy := "https?://[^/[:space:]]+(:[0-9]{1,5})?/?" -}}
{{- $isProxy := "is no URL of a proxy; write for example http://proxy.example.com:3128" -}}
{{- $isNamespace := "is no namespace; write its name, in lower case letters, digits and -" -}}
{{- $checks := list
  (list "image.repository" .Values.image.repository "[a-z0-9]([-a-z0-9._/]*[a-z0-9])?(:[0-9]+/[a-z0-9]([-a-z0-9._/]*[a-z0-9])?)?" "is no repository; write for example registry.example.com/rotated-secrets, and the tag in image.tag")
  (list "global.imageRegistry" .Values.global.imageRegistry "[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[0-9]{1,5})?(/[-a-z0-9._]+)*/?" "is no registry; write for example registry.example.com, or registry.example.com:5000/mirror")
  (list "metrics.serviceMonitor.namespace" .Values.metrics.serviceMonitor.namespace $namespace $isNamespace)
  (list "metrics.prometheusRule.namespace" .Values.metrics.prometheusRule.namespace $namespace $isNamespace)
  (list "image.tag" (ternary .Values.image.tag "" (kindIs "string" .Values.image.tag)) "[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}" "is no tag; write for example 0.1.0")
  (list "image.digest" .Values.image.digest "sha256:[0-9a-f]{64}" "is no digest; write sha256: and 64 digits from 0 to f")
  (list "nameOverride" .Values.nameOverride $namespace "is no name for labels; write up to 63 lower case letters, digits and -")
  (list "fullnameOverride" .Values.fullnameOverride "[a-z]([-a-z0-9]{0,50}[a-z0-9])?" "is no name for the chart's objects; write up to 52 lower case letters, digits and -")
  (list "clusterName" .Values.clusterName "[A-Za-z0-9+=,.@:_-]{1,512}" "is no name of a cluster; write up to 512 letters, digits and +=,.@:_-")
  (list "aws.region" .Values.aws.region "[a-z]{2,4}(-[a-z]+)+-[0-9]+(-fips)?" "is no region; write for example eu-west-1")
  (list "aws.endpointUrl" .Values.aws.endpointUrl "https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?/?" $isUrl)
  (list "aws.stsEndpointUrl" .Values.aws.stsEndpointUrl "https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?/?" $isUrl)
  (list "proxy.https" .Values.proxy.https $proxy $isProxy)
  (list "proxy.http" .Values.proxy.http $proxy $isProxy)
  (list "aws.credentialsSecretName" .Values.aws.credentialsSecretName $name $isName)
  (list "databases.caBundleConfigMap.name" .Values.databases.caBundleConfigMap.name $name $isName)
  (list "databases.caBundleSecret.name" .Values.databases.caBundleSecret.name $name $isName)
  (list "databases.caBundleConfigMap.key" .Values.databases.caBundleConfigMap.key $key $isKey)
  (list "databases.caBundleSecret.key" .Values.databases.caBundleSecret.key $key $isKey)
  (list "leaderElection.leaseName" .Values.leaderElection.leaseName $name $isName)
  (list "serviceAccount.name" .Values.serviceAccount.name $name $isName)
  (list "priorityClassName" .Values.priorityClassName $name $isName)
-}}
{{- range $index, $each := .Values.namespaces -}}
{{- $checks = append $checks (list (printf "namespaces[%d]" $index) $each $namespace $isNamespace) -}}
{{- end -}}
{{- range $index, $each := .Values.tenantCredentials.serviceAccountTokens.namespaces -}}
{{- $checks = append $checks (list (printf "tenantCredentials.serviceAccountTokens.namespaces[%d]" $index) $each $namespace $isNamespace) -}}
{{- end -}}
{{- range $index, $each := .Values.rotation.cloneSuffixes -}}
{{- $checks = append $checks (list (printf "rotation.cloneSuffixes[%d]" $index) $each "[A-Za-z0-9_]{1,16}" "is no suffix; write up to 16 letters, digits and _, for example _clone") -}}
{{- end -}}
{{- range $index, $each := .Values.databases.engines -}}
{{- $checks = append $checks (list (printf "databases.engines[%d]" $index) $each "[^,[:space:]]+" "is no name of an engine; write one to each line, for example postgres") -}}
{{- end -}}
{{- range $index, $each := .Values.databases.webhookHosts -}}
{{- $checks = append $checks (list (printf "databases.webhookHosts[%d]" $index) (lower $each) "([*][.])?[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:0*([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?" "is not a host; write hooks.example.com, *.hooks.example.com or hooks.example.com:8443") -}}
{{- end -}}
{{- with get (default dict .Values.serviceAccount.annotations) "eks.amazonaws.com/role-arn" -}}
{{- $checks = append $checks (list "serviceAccount.annotations: eks.amazonaws.com/role-arn" . "arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9/_+=,.@-]{1,576}" "is no role; write its ARN, for example arn:aws:iam::111122223333:role/rotated-secrets") -}}
{{- end -}}
{{- range $checks -}}
{{- $text := index . 1 -}}
{{- if and $text (not (regexMatch (printf "^(%s)$" (index . 2)) $text)) }}  {{ index . 0 }}: {{ $text | quote }} {{ index . 3 }}
{{ end -}}
{{- end -}}
{{- if and .Values.image.tag (not (kindIs "string" .Values.image.tag)) }}  image.tag: is a number, which may have lost digits; write it in quotes, or by --set-string image.tag=TAG
{{ end -}}
{{- if not .Values.image.repository }}  image.repository: name the image{{ println }}{{ end -}}
{{- with .Values.databases.caBundle -}}
{{- if not (regexMatch "(?s)-----BEGIN CERTIFICATE-----.+-----END CERTIFICATE-----" .) }}  databases.caBundle: holds no certificate; write the certificates of the authorities as PEM, for example by --set-file databases.caBundle=ca.pem
{{ end -}}
{{- end -}}
{{- end -}}

{{- define "rotated-secrets.wrongAmounts" -}}
{{- $amounts := dict "work.cellMemory" .Values.work.cellMemory "work.cellsMemory" .Values.work.cellsMemory -}}
{{- range $path, $text := $amounts -}}
{{- if not (regexMatch "^[0-9]{1,12}([KMG]i)?$" $text) }}  {{ $path }}: {{ $text | quote }} is no amount of memory; write for example 64Mi
{{ else if lt (include "rotated-secrets.bytes" $text | float64) 8388608.0 }}  {{ $path }}: {{ $text | quote }} is less than 8Mi; write for example 64Mi
{{ end -}}
{{- end -}}
{{- include "rotated-secrets.wrongLimit" . -}}
{{- end -}}

{{/* A container that may have less than its cells and the operator: the kernel would end all of it, and not one cell. */}}
{{- define "rotated-secrets.wrongLimit" -}}
{{- $limit := get ((.Values.resources | default dict).limits | default dict) "memory" | default "" -}}
{{- $limit = kindIs "string" $limit | ternary $limit (int64 $limit | toString) -}}
{{- $cells := .Values.work.cellsMemory -}}
{{- with include "rotated-secrets.bytes" $limit -}}
{{- $needed := addf (include "rotated-secrets.bytes" $cells | default "0" | float64) 209715200.0 -}}
{{- if lt (float64 .) $needed }}  resources.limits.memory: {{ $limit | quote }} is less than work.cellsMemory ({{ $cells }}) and 200Mi for the operator; write {{ divf $needed 1048576.0 | ceil | int64 }}Mi or more, or lower work.cellsMemory
{{ end -}}
{{- end -}}
{{- end -}}

{{- define "rotated-secrets.wrongLengths" -}}
{{- $lengths := dict
  "aws.connectTimeout" .Values.aws.connectTimeout
  "aws.readTimeout" .Values.aws.readTimeout
  "aws.pollInterval" .Values.aws.pollInterval
  "databases.breakerTime" .Values.databases.breakerTime
  "rotation.minimumInterval" .Values.rotation.minimumInterval
  "kubernetes.apiTimeout" .Values.kubernetes.apiTimeout
  "kubernetes.watchTimeout" .Values.kubernetes.watchTimeout
  "kubernetes.startupTimeout" .Values.kubernetes.startupTimeout
  "kubernetes.resyncInterval" .Values.kubernetes.resyncInterval
  "leaderElection.leaseDuration" .Values.leaderElection.leaseDuration
  "leaderElection.renewDeadline" .Values.leaderElection.renewDeadline
  "leaderElection.retryPeriod" .Values.leaderElection.retryPeriod
  "work.backoffBase" .Values.work.backoffBase
  "work.backoffCap" .Values.work.backoffCap
  "work.drainTimeout" .Values.work.drainTimeout
-}}
{{- $seconds := dict -}}
{{- range $path, $text := $lengths -}}
{{- if not (regexMatch "^([0-9]{1,9}([.][0-9]{1,9})?|([0-9]{1,9}([.][0-9]{1,9})?(ms|s|m|h|d))+)$" $text) }}  {{ $path }}: {{ $text | quote }} is no length of time; write for example 90s, 10m or 4h
{{ else -}}
{{- $_ := set $seconds $path (include "rotated-secrets.seconds" $text | float64) -}}
{{- if not (gt (get $seconds $path) 0.0) }}  {{ $path }}: {{ $text | quote }} is not longer than zero; write for example 90s, 10m or 4h
{{ end -}}
{{- end -}}
{{- end -}}
{{- if lt (default 1.0 (get $seconds "kubernetes.watchTimeout")) 1.0 }}  kubernetes.watchTimeout: must be 1s or more
{{ end -}}
{{- range list (list "leaderElection.leaseDuration" "leaderElection.renewDeadline") (list "leaderElection.renewDeadline" "leaderElection.retryPeriod") -}}
{{- if and (hasKey $seconds (first .)) (hasKey $seconds (last .)) -}}
{{- if le (get $seconds (first .)) (get $seconds (last .)) }}  {{ first . }}: must be longer than {{ last . }}
{{ end -}}
{{- end -}}
{{- end -}}
{{- if and (hasKey $seconds "work.backoffBase") (hasKey $seconds "work.backoffCap") -}}
{{- if lt (get $seconds "work.backoffCap") (get $seconds "work.backoffBase") }}  work.backoffCap: must not be less than work.backoffBase
{{ end -}}
{{- end -}}
{{- with .Values.metrics -}}
{{- $ofPrometheus := dict "metrics.serviceMonitor.interval" .serviceMonitor.interval "metrics.serviceMonitor.scrapeTimeout" .serviceMonitor.scrapeTimeout "metrics.prometheusRule.heldFor" .prometheusRule.heldFor "metrics.prometheusRule.overdueAfter" .prometheusRule.overdueAfter -}}
{{- $form := "^[1-9][0-9]{0,8}(s|m|h|d)$" -}}
{{- range $path, $text := $ofPrometheus -}}
{{- if not (regexMatch $form $text) }}  {{ $path }}: {{ $text | quote }} is no length of time for Prometheus; write one number and s, m, h or d, for example 30s
{{ end -}}
{{- end -}}
{{- if and (regexMatch $form .serviceMonitor.interval) (regexMatch $form .serviceMonitor.scrapeTimeout) -}}
{{- if gt (include "rotated-secrets.seconds" .serviceMonitor.scrapeTimeout | float64) (include "rotated-secrets.seconds" .serviceMonitor.interval | float64) }}  metrics.serviceMonitor.scrapeTimeout: must not be longer than metrics.serviceMonitor.interval
{{ end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "rotated-secrets.wrongNetworks" -}}
{{- $lists := dict "databases.allowedNetworks" .Values.databases.allowedNetworks "databases.deniedNetworks" .Values.databases.deniedNetworks "networkPolicy.databaseNetworks" .Values.networkPolicy.databaseNetworks -}}
{{- range $path, $networks := $lists -}}
{{- range $index, $network := $networks -}}
{{- with include "rotated-secrets.wrongNetwork" $network }}  {{ $path }}[{{ $index }}]: {{ $network | quote }} {{ . }}
{{ end -}}
{{- end -}}
{{- end -}}
{{- range $index, $network := .Values.networkPolicy.databaseNetworks -}}
{{- if not (contains "/" $network) }}  networkPolicy.databaseNetworks[{{ $index }}]: {{ $network | quote }} has no prefix length; write networks as 10.0.0.0/8, and one address as 10.0.0.7/32
{{ end -}}
{{- end -}}
{{- end -}}

{{/* Says what is wrong with one network; empty if nothing is. */}}
{{- define "rotated-secrets.wrongNetwork" -}}
{{- $address := regexReplaceAll "/.*$" . "" -}}
{{- $groups := list -}}
{{- $width := 0 -}}
{{- if regexMatch "^((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])[.]){3}(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(/(3[0-2]|[12]?[0-9]))?$" . -}}
{{- $width = 8 -}}
{{- range splitList "." $address }}{{ $groups = append $groups (int .) }}{{ end -}}
{{- else if and (regexMatch "^[0-9a-fA-F:]+(/(12[0-8]|1[01][0-9]|[1-9]?[0-9]))?$" .) (include "rotated-secrets.groups6" $address) -}}
{{- $width = 16 -}}
{{- range splitList " " (include "rotated-secrets.groups6" $address) }}{{ $groups = append $groups (int64 (printf "0x%s" .)) }}{{ end -}}
{{- end -}}
{{- if not $groups -}}
is no network; write networks as 10.0.0.0/8 or fd00::/8
{{- else if contains "/" . -}}
{{- $length := regexFind "[0-9]+$" . | int -}}
{{- $powers := list 1 2 4 8 16 32 64 128 256 512 1024 2048 4096 8192 16384 32768 65536 -}}
{{- $stray := false -}}
{{- range $index, $group := $groups -}}
{{- $bits := sub (mul (add1 $index) $width) $length | max 0 | min $width | int -}}
{{- if mod $group (index $powers $bits) }}{{ $stray = true }}{{ end -}}
{{- end -}}
{{- if $stray -}}
contains an address that is not the first of the network; write networks as 10.0.0.0/8, and one address as 10.0.0.7/32
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The eight groups of an IPv6 address, separated by spaces; empty if it is not one. */}}
{{- define "rotated-secrets.groups6" -}}
{{- $group := "[0-9a-fA-F]{1,4}" -}}
{{- $halves := splitList "::" . -}}
{{- $first := regexFindAll $group (first $halves) -1 -}}
{{- if regexMatch (printf "^(%s:){7}%s$" $group $group) . -}}
{{- join " " $first -}}
{{- else if regexMatch (printf "^((%s:)*%s)?::((%s:)*%s)?$" $group $group $group $group) . -}}
{{- $last := regexFindAll $group (last $halves) -1 -}}
{{- $missing := sub 8 (add (len $first) (len $last)) | int -}}
{{- if ge $missing 1 -}}
{{- range until $missing }}{{ $first = append $first "0" }}{{ end -}}
{{- join " " (concat $first $last) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "rotated-secrets.wrongTogether" -}}
{{- with .Values.databases -}}
{{- $sources := compact (list .caBundle .caBundleConfigMap.name .caBundleSecret.name) -}}
{{- if gt (len $sources) 1 }}  databases: set one of caBundle, caBundleConfigMap.name and caBundleSecret.name, not several
{{ end -}}
{{- end -}}
{{- range $name := list "maxUnavailable" "minAvailable" -}}
{{- $pods := get $.Values.podDisruptionBudget $name | default 1 -}}
{{- if and (kindIs "string" $pods) (not (regexMatch "^([1-9][0-9]?|100)%$" $pods)) }}  podDisruptionBudget.{{ $name }}: {{ $pods | quote }} is no percentage of pods; write a number, or for example 50%
{{ end -}}
{{- end -}}
{{- if and (eq (toString .Values.dnsPolicy) "None") (not (dig "nameservers" "" (default dict .Values.dnsConfig))) }}  dnsConfig.nameservers: write them, as dnsPolicy is None
{{ end -}}
{{- range $name, $kind := dict "serviceMonitor" "ServiceMonitor" "prometheusRule" "PrometheusRule" -}}
{{- $values := get $.Values.metrics $name -}}
{{- if and $values.enabled (eq $values.renderMode "failIfMissing") (not (include "rotated-secrets.hasMonitoring" (dict "root" $ "kind" $kind))) }}  metrics.{{ $name }}.renderMode: the cluster has no {{ $kind }}; install the Prometheus operator first, or write skipIfMissing
{{ end -}}
{{- end -}}
{{- if not (or .Values.serviceAccount.create .Values.serviceAccount.name) }}  serviceAccount.name: name the ServiceAccount to use, as serviceAccount.create is false
{{ end -}}
{{- if .Values.namespaces -}}
{{- range .Values.tenantCredentials.serviceAccountTokens.namespaces -}}
{{- if not (has . $.Values.namespaces) }}  tenantCredentials.serviceAccountTokens.namespaces: {{ . }} is not one of the served namespaces; add it to namespaces
{{ end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The same checks as the operator makes of its policy. */}}
{{- define "rotated-secrets.wrongRules" -}}
{{- range $index, $rule := .Values.accessPolicy.rules -}}
{{- $path := printf "accessPolicy.rules[%d]" $index -}}
{{- if not (or $rule.secrets $rule.adminSecrets) }}  {{ $path }}: write secrets, or adminSecrets, or both
{{ end -}}
{{- $forms := dict
  "namespaces" (list "[a-z0-9*-]+" "is no namespace; write a name, or one with *, as team-*")
  "accounts" (list "[0-9]{12}" "is no account; write twelve digits in quotes, as \"123456789012\"")
  "regions" (list "[a-z]{2,4}(-[a-z]+)+-[0-9]+(-fips)?" "is no region; write for example eu-west-1")
  "secrets" (list "([A-Za-z0-9/_+=.@!*-]|[{]namespace[}])+" "is no pattern for names of secrets; write letters, digits, /_+=.@-!, * for any of them except !, and {namespace}")
-}}
{{- $_ := set $forms "adminSecrets" $forms.secrets -}}
{{- range $key, $form := $forms -}}
{{- range $number, $text := index $rule $key -}}
{{- if not (regexMatch (printf "^(%s)$" (first $form)) $text) }}  {{ $path }}.{{ $key }}[{{ $number }}]: {{ $text | quote }} {{ last $form }}
{{ else if hasSuffix "ecrets" $key -}}
{{- range splitList "/" $text -}}
{{- if and (contains "{namespace}" .) (contains "*" .) }}  {{ $path }}.{{ $key }}[{{ $number }}]: {{ $text | quote }} would give a namespace the secrets of another namespace with a longer name; put a / between {namespace} and *
{{ end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
