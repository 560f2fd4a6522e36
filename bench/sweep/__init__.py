"""Many runs: what is to be done, who does it, what it came to. Never imports torch."""
