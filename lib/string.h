/* SPDX-License-Identifier: MIT */
/* Memory and strings: libc's names with their usual meaning. Host builds use libc's own. */
#ifndef LIB_STRING_H
#define LIB_STRING_H

#include <quire/compiler.h>

void *memcpy(void *restrict to, const void *restrict from, size_t size_bytes);
void *memmove(void *to, const void *from, size_t size_bytes);
void *memset(void *to, int byte, size_t size_bytes);
int memcmp(const void *a, const void *b, size_t size_bytes);
size_t strlen(const char *text);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t limit);
char *strchr(const char *text, int c);
char *strrchr(const char *text, int c);

/* Copies at most size_bytes - 1 characters and terminates. True if the whole text fitted. */
bool string_copy(char *to, size_t size_bytes, const char *from);

#endif
