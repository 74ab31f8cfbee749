"""Ways to train a student. `options` is light and lists them; `base` is what each of them promises."""
