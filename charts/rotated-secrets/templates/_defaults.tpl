{{/*
Gives values that are null their defaults, also those of a section that is null as a whole: Helm takes such values away. Every file calls
this first. Not for what is written as in a pod or a Deployment: there, null leaves the default out.
*/}}
{{- define "rotated-secrets.complete" -}}
{{- $asInPods := list "updateStrategy" "resources" "podSecurityContext" "securityContext" "startupProbe" "livenessProbe" "readinessProbe" "nodeSelector" "topologySpreadConstraints" -}}
{{- $defaults := .Files.Get "files/defaults.yaml" | fromYaml -}}
{{- range $asInPods }}{{ $defaults = omit $defaults . }}{{ end -}}
{{- include "rotated-secrets.fill" (list .Values $defaults) -}}
{{- end -}}

{{/* Takes a list: values, and their defaults. Changes the values. Not by merge, which takes what is 0, false or empty for missing. */}}
{{- define "rotated-secrets.fill" -}}
{{- $values := first . -}}
{{- range $name, $default := last . -}}
{{- if kindIs "invalid" (index $values $name) -}}
{{- $_ := set $values $name $default -}}
{{- else if kindIs "map" $default -}}
{{- include "rotated-secrets.fill" (list (get $values $name) $default) -}}
{{- end -}}
{{- end -}}
{{- end -}}
