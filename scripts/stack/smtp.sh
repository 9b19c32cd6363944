# shellcheck shell=bash
# The SMTP sink: every mail it accepts is a file in mails/; the word in smtp-mode says how it behaves.

MAILS="$DIR/mails"
SMTP_MODE="$DIR/smtp-mode"
TLS="$DIR/tls"

start_smtp() {
  if is_paused smtp; then resume_service smtp; fi
  if is_alive smtp; then return; fi
  ! is_open "$SMTP_PORT" || die "port $SMTP_PORT is taken by somebody else; set VIGIE_SMTP_PORT"
  mkdir -p "$MAILS"
  [[ -f $SMTP_MODE ]] || echo accept >"$SMTP_MODE"
  say "starting the SMTP sink on 127.0.0.1:$SMTP_PORT"
  launch smtp "$PYTHON" "$ROOT/scripts/smtp_sink.py" --port "$SMTP_PORT" --dir "$MAILS" --mode-file "$SMTP_MODE"
}

await_smtp() { until_or_fail 20 smtp is_open "$SMTP_PORT"; }
end_smtp() { end_service smtp TERM; }

# For servers that speak TLS: cert.pem and key.pem for localhost and 127.0.0.1, signed by ca.pem, which is what a
# client is told to trust; and client.pem with client-key.pem for a client that is asked who it is.
make_certificate() {
  [[ -f $TLS/client.pem ]] && return
  require openssl
  mkdir -p "$TLS" && chmod 700 "$TLS"
  local new=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -batch)
  if [[ ! -f $TLS/cert.pem ]]; then
    openssl req -x509 "${new[@]}" -days 3650 -subj "/CN=Vigie development authority" \
      -keyout "$TLS/ca-key.pem" -out "$TLS/ca.pem" 2>/dev/null
    sign_certificate cert key localhost 'DNS:localhost,IP:127.0.0.1' serverAuth
  fi
  sign_certificate client client-key vigie DNS:vigie clientAuth
}

# sign_certificate FILE KEY-FILE NAME ALTERNATIVE-NAMES USE
sign_certificate() {
  openssl req "${new[@]}" -subj "/CN=$3" -keyout "$TLS/$2.pem" -out "$TLS/request.pem" 2>/dev/null
  printf '%s\n' "subjectAltName=$4" 'basicConstraints=critical,CA:FALSE' "extendedKeyUsage=$5" >"$TLS/extensions"
  openssl x509 -req -in "$TLS/request.pem" -CA "$TLS/ca.pem" -CAkey "$TLS/ca-key.pem" -CAcreateserial -days 3650 \
    -extfile "$TLS/extensions" -out "$TLS/$1.pem" 2>/dev/null
}
