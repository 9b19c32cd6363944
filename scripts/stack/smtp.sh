# shellcheck shell=bash
# The SMTP sink: every mail it accepts is a file in mails/; the word in smtp-mode says how it behaves.

MAILS="$DIR/mails"
SMTP_MODE="$DIR/smtp-mode"

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
