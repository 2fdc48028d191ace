/* SPDX-License-Identifier: MIT */
/* Lists of words in one string, separated by bars: "low|normal|high". */
#ifndef LIB_WORDS_H
#define LIB_WORDS_H

#include <quire/compiler.h>

/* Finds `word` in the list. *out_index is its position, from 0. False: it is not in the list. */
bool words_find(const char *words, const char *word, unsigned *out_index);

/* Copies the word at `index`, or "" if there is none. Cuts what does not fit. Returns `to`. */
const char *words_at(const char *words, unsigned index, char *to, size_t size_bytes);

/* Writes the list for people: "low, normal or high". Cuts what does not fit. Returns `to`. */
const char *words_list(const char *words, char *to, size_t size_bytes);

#endif
