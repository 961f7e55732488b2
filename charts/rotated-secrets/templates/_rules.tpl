{{/* Permissions of the operator in each served namespace. */}}
{{- define "rotated-secrets.rules" -}}
- apiGroups: [rotatedsecrets.io]
  resources: [rotatedsecrets]
  verbs: [get, list, watch]
- apiGroups: [rotatedsecrets.io]
  resources: [rotatedsecrets/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch, create, update]
- apiGroups: [""]
  resources: [events]
  verbs: [create, patch]
{{- if .Values.immutableSecrets.enabled }}
- apiGroups: [""]
  resources: [secrets]
  verbs: [delete]
{{- end }}
{{- if .Values.rollouts.enabled }}
- apiGroups: [apps]
  resources: [deployments, statefulsets, daemonsets]
  verbs: [get, patch]
{{- end }}
{{- end -}}

{{- define "rotated-secrets.subjects" -}}
- kind: ServiceAccount
  name: {{ include "rotated-secrets.serviceAccountName" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}
