{{/* Name of the chart, as a label value. */}}
{{- define "housekeeper.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Prefix of every object's name: the release's name, with the chart's unless it is in there already. */}}
{{- define "housekeeper.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "housekeeper.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Name of a cluster-wide object: two releases in two namespaces must not meet. */}}
{{- define "housekeeper.clusterName" -}}
{{- $full := include "housekeeper.fullname" . -}}
{{- if eq $full .Release.Namespace -}}
{{- $full -}}
{{- else -}}
{{- printf "%s-%s" .Release.Namespace $full -}}
{{- end -}}
{{- end -}}

{{/* What pods are selected by. Never changes within a release. */}}
{{- define "housekeeper.selectorLabels" -}}
app.kubernetes.io/name: {{ include "housekeeper.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "housekeeper.labels" -}}
{{ include "housekeeper.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: housekeeper
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "housekeeper.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "housekeeper.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* An image reference. Takes (dict "image" <image values> "root" $). A digest wins over a tag. */}}
{{- define "housekeeper.image" -}}
{{- $name := .image.repository -}}
{{- with .root.Values.imageRegistry -}}
{{- $name = printf "%s/%s" (trimSuffix "/" .) $name -}}
{{- end -}}
{{- if .image.digest -}}
{{- printf "%s@%s" $name .image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (default .root.Chart.AppVersion .image.tag) -}}
{{- end -}}
{{- end -}}

{{/* The namespaces that an admission policy is about: those that the operator serves. */}}
{{- define "housekeeper.servedNamespaces" -}}
{{- with .Values.watchNamespaces -}}
namespaceSelector:
  matchExpressions:
    - key: kubernetes.io/metadata.name
      operator: In
      values: {{ toJson . }}
{{- else -}}
namespaceSelector: {}
{{- end -}}
{{- end -}}

{{- define "housekeeper.subject" -}}
- kind: ServiceAccount
  name: {{ include "housekeeper.serviceAccountName" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}
