{{/* What the schema cannot say in a sentence, or not at all. All that is wrong is told at once. */}}

{{- define "rotated-secrets.validate" -}}
{{- end -}}
