{{/* The operator's variables, also those of the test's pod. */}}
{{- define "elpio.env" -}}
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: POD_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: POD_UID
  valueFrom:
    fieldRef:
      fieldPath: metadata.uid
- name: NODE_NAME
  valueFrom:
    fieldRef:
      fieldPath: spec.nodeName
- name: ELPIO_METRICS
  value: {{ ternary "on" "off" .Values.metrics.enabled | quote }}
{{- if .Values.metrics.enabled }}
- name: ELPIO_METRICS_PORT
  value: {{ .Values.metrics.port | quote }}
{{- end }}
- name: ELPIO_HEALTH_PORT
  value: {{ .Values.health.port | quote }}
{{- with .Values.metrics.address }}
- name: ELPIO_METRICS_ADDR
  value: {{ . | quote }}
{{- end }}
{{- with .Values.namespaces }}
- name: ELPIO_NAMESPACES
  value: {{ join "," . | quote }}
{{- end }}
{{- range $name, $value := dict
    "ELPIO_ENGINE" .Values.config.engine
    "ELPIO_CLUSTER_ISSUER" .Values.config.clusterIssuer
    "ELPIO_FETCH_IMAGE" .Values.config.fetchImage
    "ELPIO_KEDA_INTERCEPTOR" .Values.config.kedaInterceptor
    "ELPIO_POD_SECURITY" .Values.config.podSecurity
    "ELPIO_TRACE_PARENT" .Values.config.traceParent
    "ELPIO_CONCURRENCY" .Values.config.concurrency
    "ELPIO_ROLLOUT_DEADLINE" .Values.config.rolloutDeadline
    "ELPIO_LOG" .Values.config.log
    "ELPIO_LOG_FORMAT" .Values.config.logFormat }}
{{- if $value }}
- name: {{ $name }}
  value: {{ $value | toString | quote }}
{{- end }}
{{- end }}
{{- include "elpio.otlpEnv" . }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "elpio.otlpEnv" -}}
{{- with .Values.otlp }}
{{- range $name, $value := dict
    "OTEL_EXPORTER_OTLP_ENDPOINT" .endpoint
    "OTEL_EXPORTER_OTLP_PROTOCOL" .protocol
    "OTEL_TRACES_SAMPLER" .sampler }}
{{- if $value }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}
{{- if not (kindIs "invalid" .samplerRatio) }}
- name: OTEL_TRACES_SAMPLER_ARG
  value: {{ .samplerRatio | quote }}
{{- end }}
{{- with .resourceAttributes }}
{{- $pairs := list }}
{{- range $name, $value := . }}
{{- $pairs = append $pairs (printf "%s=%s" $name ($value | urlquery | replace "+" "%20")) }}
{{- end }}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: {{ join "," $pairs | quote }}
{{- end }}
{{- with .headersSecret }}
{{- if .secretName }}
- name: OTEL_EXPORTER_OTLP_HEADERS
  valueFrom:
    secretKeyRef:
      name: {{ .secretName | quote }}
      key: {{ default "headers" .key | quote }}
{{- end }}
{{- end }}
{{- if .ca.secretName }}
- name: OTEL_EXPORTER_OTLP_CERTIFICATE
  value: /etc/elpio/otlp-ca/{{ default "ca.crt" .ca.key }}
{{- end }}
{{- if .clientCertificate.secretName }}
- name: OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE
  value: /etc/elpio/otlp-client/{{ default "tls.crt" .clientCertificate.certificateKey }}
- name: OTEL_EXPORTER_OTLP_CLIENT_KEY
  value: /etc/elpio/otlp-client/{{ default "tls.key" .clientCertificate.privateKeyKey }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The port of the OTLP endpoint: HOST:PORT, or a URL, which may leave its scheme's port out. */}}
{{- define "elpio.otlpPort" -}}
{{- with .Values.otlp.endpoint -}}
{{- $host := regexReplaceAll "^[a-z]+://" . "" | splitList "/" | first -}}
{{- $default := hasPrefix "http://" . | ternary "80" "443" -}}
{{- regexFind ":[0-9]+$" $host | trimPrefix ":" | default $default -}}
{{- end -}}
{{- end -}}

{{- define "elpio.envFrom" -}}
{{- with .Values.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "elpio.volumeMounts" -}}
{{- if or .Values.otlp.ca.secretName .Values.otlp.clientCertificate.secretName .Values.extraVolumeMounts }}
volumeMounts:
  {{- if .Values.otlp.ca.secretName }}
  - name: otlp-ca
    mountPath: /etc/elpio/otlp-ca
    readOnly: true
  {{- end }}
  {{- if .Values.otlp.clientCertificate.secretName }}
  - name: otlp-client
    mountPath: /etc/elpio/otlp-client
    readOnly: true
  {{- end }}
  {{- with .Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "elpio.volumes" -}}
{{- if or .Values.otlp.ca.secretName .Values.otlp.clientCertificate.secretName .Values.extraVolumes }}
volumes:
  {{- with .Values.otlp.ca.secretName }}
  - name: otlp-ca
    secret:
      secretName: {{ . | quote }}
  {{- end }}
  {{- with .Values.otlp.clientCertificate.secretName }}
  - name: otlp-client
    secret:
      secretName: {{ . | quote }}
  {{- end }}
  {{- with .Values.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- end -}}
