"""``fastemb bench layers``: lookups, bags and training steps beside torch's and FBGEMM's."""
