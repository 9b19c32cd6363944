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

# For servers that are to speak TLS (a sink of a test's own): cert.pem and key.pem for localhost and 127.0.0.1,
# signed by ca.pem, which is what a client is told to trust.
make_certificate() {
  [[ -f $TLS/cert.pem ]] && return
  require openssl
  local new=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -batch)
  mkdir -p "$TLS" && chmod 700 "$TLS"
  openssl req -x509 "${new[@]}" -days 3650 -subj "/CN=Vigie development authority" \
    -keyout "$TLS/ca-key.pem" -out "$TLS/ca.pem" 2>/dev/null
  openssl req "${new[@]}" -subj "/CN=localhost" -keyout "$TLS/key.pem" -out "$TLS/request.pem" 2>/dev/null
  printf '%s\n' 'subjectAltName=DNS:localhost,IP:127.0.0.1' 'basicConstraints=critical,CA:FALSE' \
    'extendedKeyUsage=serverAuth' >"$TLS/extensions"
  openssl x509 -req -in "$TLS/request.pem" -CA "$TLS/ca.pem" -CAkey "$TLS/ca-key.pem" -CAcreateserial -days 3650 \
    -extfile "$TLS/extensions" -out "$TLS/cert.pem" 2>/dev/null
}
