{{- define "plainspan.labels" -}}
app.kubernetes.io/name: plainspan
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}
{{- define "plainspan.selector" -}}
app.kubernetes.io/name: plainspan
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
{{- define "plainspan.name" -}}
{{ printf "%s-plainspan" .Release.Name }}
{{- end }}
{{- define "plainspan.account" -}}
{{ .Values.serviceAccount.name | default (include "plainspan.name" .) }}
{{- end }}
