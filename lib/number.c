/* SPDX-License-Identifier: MIT */
/*
 * Numbers from text. Strict on purpose: no sign, no blanks, no hexadecimal, and
 * nothing after the number. A typing error is refused, not read as another number.
 */
#include "lib/number.h"

/* Reads digits up to the first other character, to which *out_rest then points. */
static q_status_t digits_parse(const char *text, uint64_t max, uint64_t *out_value,
			       const char **out_rest)
{
	uint64_t value = 0;
	const char *c = text;
	for (; *c >= '0' && *c <= '9'; c++) {
		uint64_t digit = (uint64_t)(*c - '0');
		if (digit > max || value > (max - digit) / 10)
			return Q_RANGE;
		value = value * 10 + digit;
	}
	if (c == text)
		return Q_INVALID;
	*out_value = value;
	*out_rest = c;
	return Q_OK;
}

/*
 * number_parse() checks this first, because digits_parse() stops at a number above
 * `max` and would call "99x" out of range, not invalid.
 */
static bool is_all_digits(const char *text)
{
	while (*text >= '0' && *text <= '9')
		text++;
	return *text == 0;
}

q_status_t number_parse(const char *text, uint64_t max, uint64_t *out_value)
{
	uint64_t value;
	const char *rest;
	if (!is_all_digits(text))
		return Q_INVALID;
	q_status_t status = digits_parse(text, max, &value, &rest);
	if (status != Q_OK)
		return status;
	*out_value = value;
	return Q_OK;
}

q_status_t size_parse(const char *text, uint64_t *out_bytes)
{
	uint64_t value;
	const char *rest;
	q_status_t status = digits_parse(text, UINT64_MAX, &value, &rest);
	if (status != Q_OK)
		return status;

	unsigned shift = 0;
	switch (*rest) {
	case 'K': shift = 10; break;
	case 'M': shift = 20; break;
	case 'G': shift = 30; break;
	case 0: break;
	default: return Q_INVALID;
	}
	if (shift != 0 && rest[1] != 0)
		return Q_INVALID;
	if (value > UINT64_MAX >> shift)
		return Q_RANGE;
	*out_bytes = value << shift;
	return Q_OK;
}
