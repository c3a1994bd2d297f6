{{- define "elpio.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* It begins with a letter, as the name of a Service has to. */}}
{{- define "elpio.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 48 | trimSuffix "-" -}}
{{- else -}}
{{- $release := regexReplaceAll "^([0-9])" .Release.Name "elpio-${1}" -}}
{{- if contains (include "elpio.name" .) $release -}}
{{- $release | trunc 48 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" $release (include "elpio.name" .) | trunc 48 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What lies outside of namespaces: a namespace has no dot, so no two installations share a name. */}}
{{- define "elpio.clusterName" -}}
{{- printf "%s.%s" (include "elpio.fullname" .) .Release.Namespace -}}
{{- end -}}

{{- define "elpio.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "elpio.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "elpio.selector" -}}
app.kubernetes.io/name: {{ include "elpio.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "elpio.labels" -}}
{{ include "elpio.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: elpio
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "elpio.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository (default $.Chart.AppVersion .tag) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A file of the chart. (dict "root" $ "path" PATH) */}}
{{- define "elpio.file" -}}
{{- $text := .root.Files.Get .path -}}
{{- if not $text -}}
{{- fail (printf "%s is missing: the chart is not complete" .path) -}}
{{- end -}}
{{- $text -}}
{{- end -}}

{{/* Replaces what has to be there, so that no default stays unnoticed. (dict "path" PATH "text" TEXT "old" OLD "new" NEW) */}}
{{- define "elpio.replace" -}}
{{- if not (contains .old .text) -}}
{{- fail (printf "%s: %q is not there to be replaced" .path .old) -}}
{{- end -}}
{{- replace .old .new .text -}}
{{- end -}}

{{/* What the schema cannot compare. */}}
{{- define "elpio.validate" -}}
{{- if eq (int .Values.metrics.port) (int .Values.health.port) -}}
{{- fail (printf "metrics.port: %d is health.port too" (int .Values.metrics.port)) -}}
{{- end -}}
{{- end -}}

{{- define "elpio.podSecurityContext" -}}
runAsNonRoot: true
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "elpio.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}
