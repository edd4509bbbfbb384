"""Where alerts are sent: e-mail, webhook."""
