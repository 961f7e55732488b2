{{/* The operator's settings, as a list of its arguments. The operator finds all other settings by itself. */}}

{{- define "rotated-secrets.arguments" -}}
{{- $flags := dict
  "aws-connect-timeout" .Values.aws.connectTimeout
  "aws-read-timeout" .Values.aws.readTimeout
  "aws-write-rate" (int64 .Values.aws.writeRate)
  "poll-interval" .Values.aws.pollInterval
  "access-policy-file" "/etc/rotated-secrets/access-policy/policy.yaml"
  "connections-per-host" (int64 .Values.databases.connectionsPerHost)
  "breaker-failures" (int64 .Values.databases.breakerFailures)
  "breaker-time" .Values.databases.breakerTime
  "minimum-interval" .Values.rotation.minimumInterval
  "clone-suffixes" (join "," .Values.rotation.cloneSuffixes)
  "api-timeout" .Values.kubernetes.apiTimeout
  "watch-timeout" .Values.kubernetes.watchTimeout
  "startup-timeout" .Values.kubernetes.startupTimeout
  "resync-interval" .Values.kubernetes.resyncInterval
  "lease-name" (include "rotated-secrets.leaseName" .)
  "lease-namespace" .Release.Namespace
  "lease-duration" .Values.leaderElection.leaseDuration
  "renew-deadline" .Values.leaderElection.renewDeadline
  "retry-period" .Values.leaderElection.retryPeriod
  "threads" (int64 .Values.work.threads)
  "cell-memory" .Values.work.cellMemory
  "cells-memory" .Values.work.cellsMemory
  "backoff-base" .Values.work.backoffBase
  "backoff-cap" .Values.work.backoffCap
  "drain-timeout" .Values.work.drainTimeout
  "probe-host" .Values.metrics.host
  "probe-port" (int64 .Values.metrics.port)
  "log-format" .Values.log.format
  "log-level" .Values.log.level
-}}
{{- $optional := dict
  "aws-region" .Values.aws.region
  "aws-endpoint-url" .Values.aws.endpointUrl
  "cluster-name" .Values.clusterName
  "namespaces" (join "," .Values.namespaces)
  "allowed-networks" (join "," .Values.databases.allowedNetworks)
  "denied-networks" (join "," .Values.databases.deniedNetworks)
  "engines" (join "," .Values.databases.engines)
  "webhook-hosts" (join "," .Values.databases.webhookHosts)
  "engine-variables" (join "," .Values.databases.engineVariables)
  "engine-paths" (join "," .Values.databases.enginePaths)
  "database-ca-file" (ternary "/etc/rotated-secrets/database-ca/ca.crt" "" (eq (include "rotated-secrets.hasDatabaseCa" .) "true"))
-}}
{{- range $flag, $value := $optional }}{{ if $value }}{{ $_ := set $flags $flag $value }}{{ end }}{{ end -}}
{{- range $flag, $value := $flags }}
- {{ printf "--%s=%v" $flag $value | quote }}
{{- end -}}
{{- end -}}
