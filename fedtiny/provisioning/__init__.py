"""A fleet's identities: its certificate authorities, who has a certificate, and what each may do at the broker."""
