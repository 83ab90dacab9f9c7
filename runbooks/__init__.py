"""One Markdown file per failure mode: symptom, check, act, verify, and the experiment that rehearses it."""
