"""Plans that wait for approval: their file, where they lie, and what of them may still be carried out."""
