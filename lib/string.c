/* SPDX-License-Identifier: MIT */
/*
 * Memory and strings for the kernel; host builds use libc's. Copying and filling
 * use string instructions: they are fast on hardware, and an emulator takes one
 * step for eight bytes. gcc may recognise that a loop implements strlen(), and replace
 * it by a call of strlen(), which would then call itself; a barrier in the loop
 * prevents that.
 */
#include "lib/string.h"

/* Keeps gcc from turning the loop around it into a library call. */
#define LOOP_BARRIER() asm volatile("" ::: "memory")

/* A word at any address. */
typedef uint64_t __attribute__((aligned(1), may_alias)) loose_word_t;

void *memcpy(void *restrict to, const void *restrict from, size_t size_bytes)
{
	void *d = to;
	const void *s = from;
	size_t words = size_bytes / 8, tail = size_bytes % 8;
	asm volatile("rep movsq\n\t"
		     "mov %3, %2\n\t"
		     "rep movsb"
		     : "+&D"(d), "+&S"(s), "+&c"(words)
		     : "r"(tail)
		     : "memory");
	return to;
}

/* Copies from the end, for a destination that starts inside the source. */
static void copy_backwards(uint8_t *to, const uint8_t *from, size_t size_bytes)
{
	for (; size_bytes >= 8; size_bytes -= 8) {
		*(loose_word_t *)(to + size_bytes - 8) =
			*(const loose_word_t *)(from + size_bytes - 8);
		LOOP_BARRIER();
	}
	for (; size_bytes; size_bytes--) {
		to[size_bytes - 1] = from[size_bytes - 1];
		LOOP_BARRIER();
	}
}

void *memmove(void *to, const void *from, size_t size_bytes)
{
	/* Copying upwards is right unless the destination starts inside the source. */
	if ((uintptr_t)to - (uintptr_t)from >= size_bytes)
		return memcpy(to, from, size_bytes);
	copy_backwards(to, from, size_bytes);
	return to;
}

void *memset(void *to, int byte, size_t size_bytes)
{
	void *d = to;
	uint64_t pattern = (uint8_t)byte * 0x0101010101010101ull;
	size_t words = size_bytes / 8, tail = size_bytes % 8;
	asm volatile("rep stosq\n\t"
		     "mov %2, %1\n\t"
		     "rep stosb"
		     : "+&D"(d), "+&c"(words)
		     : "r"(tail), "a"(pattern)
		     : "memory");
	return to;
}

int memcmp(const void *a, const void *b, size_t size_bytes)
{
	const uint8_t *x = a, *y = b;
	size_t i = 0;
	while (i + 8 <= size_bytes &&
	       *(const loose_word_t *)(x + i) == *(const loose_word_t *)(y + i))
		i += 8;
	for (; i < size_bytes; i++) {
		if (x[i] != y[i])
			return x[i] < y[i] ? -1 : 1;
	}
	return 0;
}

size_t strlen(const char *text)
{
	size_t length = 0;
	while (text[length]) {
		length++;
		LOOP_BARRIER();
	}
	return length;
}

int strcmp(const char *a, const char *b)
{
	return strncmp(a, b, SIZE_MAX);
}

int strncmp(const char *a, const char *b, size_t limit)
{
	for (size_t i = 0; i < limit; i++) {
		uint8_t x = (uint8_t)a[i], y = (uint8_t)b[i];
		if (x != y)
			return x < y ? -1 : 1;
		if (x == 0)
			return 0;
	}
	return 0;
}

char *strchr(const char *text, int c)
{
	for (;; text++) {
		if (*text == (char)c)
			return (char *)(uintptr_t)text;
		if (*text == 0)
			return NULL;
	}
}

char *strrchr(const char *text, int c)
{
	const char *found = NULL;
	for (;; text++) {
		if (*text == (char)c)
			found = text;
		if (*text == 0)
			return (char *)(uintptr_t)found;
	}
}
