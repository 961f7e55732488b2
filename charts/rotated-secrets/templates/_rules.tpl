{{/* Permissions of the operator in each served namespace. */}}
{{- define "rotated-secrets.rules" -}}
- apiGroups: [rotatedsecrets.io]
  resources: [rotatedsecrets]
  verbs: [get, list, watch]
- apiGroups: [rotatedsecrets.io]
  resources: [rotatedsecrets/status]
  verbs: [patch]
# It deletes no Secret but an immutable one that it replaces. The admission plug-in
# OwnerReferencesPermissionEnforcement asks for this where a Secret gets or loses an owner; OpenShift has it by default.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch, create, update, delete]
- apiGroups: [""]
  resources: [events]
  verbs: [create, patch]
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
