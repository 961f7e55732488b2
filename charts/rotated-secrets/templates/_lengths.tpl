{{/* Converts a length of time to seconds: 90, 90s, 1m30s, 4h. */}}
{{- define "rotated-secrets.seconds" -}}
{{- $units := dict "ms" 0.001 "s" 1.0 "m" 60.0 "h" 3600.0 "d" 86400.0 -}}
{{- $seconds := 0.0 -}}
{{- range regexFindAll "[0-9]+([.][0-9]+)?(ms|s|m|h|d)?" (toString .) -1 -}}
{{- $number := regexFind "^[0-9.]+" . | float64 -}}
{{- $seconds = addf $seconds (mulf $number (get $units (default "s" (regexFind "[a-z]+$" .)))) -}}
{{- end -}}
{{- $seconds -}}
{{- end -}}
