/* SPDX-License-Identifier: MIT */
/*
 * A strict reader of JSON (RFC 8259) for tests. A path names a value: "vms[0].pages"; the empty
 * path names the whole text. A text that is not JSON, or a path that leads nowhere, fails the test.
 */
#ifndef TESTS_HOST_JSON_READ_H
#define TESTS_HOST_JSON_READ_H

#include <stdbool.h>
#include <stdint.h>

/* One value and nothing else: no blanks, no key twice, no control character. */
bool json_is_valid(const char *text);

/* The keys of an object in their order: "name,pages". Good until the next call. */
const char *json_keys_at(const char *text, const char *path);
uint64_t json_number_at(const char *text, const char *path);
/* Without the quotes, with escapes as they are. Good until the next call. */
const char *json_text_at(const char *text, const char *path);
/* Elements of an array. */
unsigned json_count_at(const char *text, const char *path);

#endif
