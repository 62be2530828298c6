// Enables instructions for the functions of one file, after its last header, so that no function of
// a header can hold them.
#pragma once

#define BNNZOO_PRAGMA(...) _Pragma(#__VA_ARGS__)

#if defined(__clang__)
#define BNNZOO_PUSH_TARGET(instructions) \
  BNNZOO_PRAGMA(clang attribute push(__attribute__((target(instructions))), apply_to = function))
#define BNNZOO_POP_TARGET BNNZOO_PRAGMA(clang attribute pop)
#else
// GCC 12 takes the undefined source of unmasked intrinsics for a mistake (its bug 105593).
#define BNNZOO_PUSH_TARGET(instructions) \
  BNNZOO_PRAGMA(GCC target(instructions)) \
  BNNZOO_PRAGMA(GCC diagnostic ignored "-Wmaybe-uninitialized")
// To the end of the file, where GCC instantiates templates.
#define BNNZOO_POP_TARGET
#endif
