"""Where the choices stand in a fuzzer's bytes; the runner knows this without importing the package."""

#: bytes of choices behind the document
CHOICES = 12

#: which of them chooses what; those from PIECES on are sizes
ISA, SCOPE, FORM, GROWTH, ROUNDS, FLAGS, LIMIT, SPARE, PIECES = range(9)
