/* SPDX-License-Identifier: MIT */
/*
 * printf-style formatting that never writes beyond its buffer. The length is
 * counted even where the text no longer fits, so callers can detect a cut text, as
 * with snprintf. No global state, so it works in any context, a panic included.
 */
#include "lib/format.h"
#include "lib/string.h"

/* More than the 20 digits of 64 bits in decimal. */
#define DIGITS_MAX 24

struct output {
	char *to;
	size_t capacity; /* characters, not counting the terminator */
	size_t length;   /* of the whole text, whether it fits or not */
};

enum length { LENGTH_CHAR, LENGTH_SHORT, LENGTH_INT, LENGTH_LONG };

struct spec {
	bool is_left, is_zero_padded, is_alternate, has_precision;
	size_t width, precision;
	enum length length;
};

/* A pass over a format. va_list is an array type, so only a struct can pass it on by pointer. */
struct cursor {
	const char *format;
	va_list args;
};

static void put(struct output *out, char c)
{
	if (out->length < out->capacity)
		out->to[out->length] = c;
	out->length++;
}

static void put_text(struct output *out, const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
		put(out, text[i]);
}

static void put_repeated(struct output *out, char c, size_t count)
{
	/* Beyond the buffer only the length matters: a huge width must not take long. */
	while (count > 0 && out->length < out->capacity) {
		put(out, c);
		count--;
	}
	out->length += count;
}

/* Puts prefix ("-", "0x"), zeros and text, with blanks up to spec->width. */
static void put_field(struct output *out, const struct spec *spec, const char *prefix, size_t zeros,
		      const char *text, size_t length)
{
	size_t prefix_length = strlen(prefix);
	size_t used = prefix_length + zeros + length;
	size_t blanks = spec->width > used ? spec->width - used : 0;

	if (!spec->is_left)
		put_repeated(out, ' ', blanks);
	put_text(out, prefix, prefix_length);
	put_repeated(out, '0', zeros);
	put_text(out, text, length);
	if (spec->is_left)
		put_repeated(out, ' ', blanks);
}

static void put_number(struct output *out, const struct spec *spec, const char *prefix,
		       uint64_t value, unsigned base, const char *digits)
{
	char text[DIGITS_MAX];
	size_t start = DIGITS_MAX;
	for (uint64_t rest = value; rest != 0; rest /= base)
		text[--start] = digits[rest % base];

	size_t length = DIGITS_MAX - start;
	size_t wanted = spec->has_precision ? spec->precision : 1;
	if (spec->is_zero_padded && !spec->is_left && !spec->has_precision) {
		size_t prefix_length = strlen(prefix);
		if (spec->width > prefix_length + wanted)
			wanted = spec->width - prefix_length;
	}
	put_field(out, spec, prefix, wanted > length ? wanted - length : 0, text + start, length);
}

static void put_hex(struct output *out, const struct spec *spec, uint64_t value, bool is_upper)
{
	const char *prefix = "";
	if (spec->is_alternate && value != 0)
		prefix = is_upper ? "0X" : "0x";
	put_number(out, spec, prefix, value, 16,
		   is_upper ? "0123456789ABCDEF" : "0123456789abcdef");
}

static void put_signed(struct output *out, const struct spec *spec, int64_t value)
{
	uint64_t magnitude = value < 0 ? -(uint64_t)value : (uint64_t)value;
	put_number(out, spec, value < 0 ? "-" : "", magnitude, 10, "0123456789");
}

static void put_string(struct output *out, const struct spec *spec, const char *text)
{
	if (!text)
		text = "(null)";
	size_t limit = spec->has_precision ? spec->precision : SIZE_MAX;
	size_t length = 0;
	/* A text with a precision need not be terminated. */
	while (length < limit && text[length])
		length++;
	put_field(out, spec, "", 0, text, length);
}

static int64_t take_signed(struct cursor *at, enum length length)
{
	switch (length) {
	case LENGTH_CHAR: return (signed char)va_arg(at->args, int);
	case LENGTH_SHORT: return (short)va_arg(at->args, int);
	case LENGTH_INT: return va_arg(at->args, int);
	case LENGTH_LONG: break;
	}
	return va_arg(at->args, long long);
}

static uint64_t take_unsigned(struct cursor *at, enum length length)
{
	switch (length) {
	case LENGTH_CHAR: return (unsigned char)va_arg(at->args, unsigned);
	case LENGTH_SHORT: return (unsigned short)va_arg(at->args, unsigned);
	case LENGTH_INT: return va_arg(at->args, unsigned);
	case LENGTH_LONG: break;
	}
	return va_arg(at->args, unsigned long long);
}

static void read_flags(struct cursor *at, struct spec *spec)
{
	for (;; at->format++) {
		switch (*at->format) {
		case '-': spec->is_left = true; break;
		case '0': spec->is_zero_padded = true; break;
		case '#': spec->is_alternate = true; break;
		default: return;
		}
	}
}

/* Reads a decimal number or '*'. Only an argument of '*' can be negative. */
static size_t read_count(struct cursor *at, bool *out_is_negative)
{
	*out_is_negative = false;
	if (*at->format == '*') {
		at->format++;
		int count = va_arg(at->args, int);
		*out_is_negative = count < 0;
		return count < 0 ? -(size_t)count : (size_t)count;
	}
	size_t count = 0;
	for (; *at->format >= '0' && *at->format <= '9'; at->format++)
		count = count * 10 + (size_t)(*at->format - '0');
	return count;
}

static enum length read_length(struct cursor *at)
{
	switch (*at->format) {
	case 'h':
		at->format++;
		if (*at->format != 'h')
			return LENGTH_SHORT;
		at->format++;
		return LENGTH_CHAR;
	case 'l': /* long and long long have the same size on x86-64 */
		at->format++;
		if (*at->format == 'l')
			at->format++;
		return LENGTH_LONG;
	case 'z': at->format++; return LENGTH_LONG;
	default: return LENGTH_INT;
	}
}

static struct spec read_spec(struct cursor *at)
{
	struct spec spec = { 0 };
	bool is_negative;
	read_flags(at, &spec);
	spec.width = read_count(at, &is_negative);
	spec.is_left |= is_negative;
	if (*at->format == '.') {
		at->format++;
		spec.precision = read_count(at, &is_negative);
		spec.has_precision = !is_negative;
	}
	spec.length = read_length(at);
	return spec;
}

/* `start` points to the '%'. An unknown conversion is put out unchanged. */
static void put_conversion(struct output *out, struct cursor *at, const char *start)
{
	struct spec spec = read_spec(at);
	char c = *at->format;
	if (c)
		at->format++;

	switch (c) {
	case 'd':
	case 'i': put_signed(out, &spec, take_signed(at, spec.length)); break;
	case 'u':
		put_number(out, &spec, "", take_unsigned(at, spec.length), 10, "0123456789");
		break;
	case 'x':
	case 'X': put_hex(out, &spec, take_unsigned(at, spec.length), c == 'X'); break;
	case 'p':
		put_number(out, &spec, "0x", (uintptr_t)va_arg(at->args, void *), 16,
			   "0123456789abcdef");
		break;
	case 's': put_string(out, &spec, va_arg(at->args, const char *)); break;
	case 'c':
		c = (char)va_arg(at->args, int);
		put_field(out, &spec, "", 0, &c, 1);
		break;
	case '%': put(out, '%'); break;
	default: put_text(out, start, (size_t)(at->format - start)); break;
	}
}

size_t format_text_va(char *to, size_t size_bytes, const char *format, va_list args)
{
	struct output out = { .to = to, .capacity = size_bytes ? size_bytes - 1 : 0 };
	struct cursor at = { .format = format };
	va_copy(at.args, args);
	while (*at.format) {
		const char *start = at.format++;
		if (*start == '%')
			put_conversion(&out, &at, start);
		else
			put(&out, *start);
	}
	va_end(at.args);
	if (size_bytes)
		to[out.length < out.capacity ? out.length : out.capacity] = 0;
	return out.length;
}

size_t format_text(char *to, size_t size_bytes, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	size_t length = format_text_va(to, size_bytes, format, args);
	va_end(args);
	return length;
}
