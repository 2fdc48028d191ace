/* SPDX-License-Identifier: MIT */
/* See guest.h. Polled output, no interrupts, no allocation. */

#include "guest.h"

#define SERIAL_DATA     0x3f8
#define SERIAL_LCR      0x3fb
#define SERIAL_LSR      0x3fd
#define LSR_ROOM        0x20
#define LCR_8_BITS      0x03
#define EXIT_PORT       0xf4
#define VECTOR_COUNT    32
#define STUB_SIZE_BYTES 16
#define GATE_INTERRUPT  0x8e00
#define CODE_SELECTOR   0x08

/* Linux boot protocol, "The zero page". */
#define PARAMS_E820_COUNT 0x1e8
#define PARAMS_E820_TABLE 0x2d0
#define E820_RAM          1
#define LOW_MEMORY_END    0x100000ull
#define MAPPED_END        0x100000000ull

struct gate {
	uint16_t offset_0;
	uint16_t selector;
	uint16_t type;
	uint16_t offset_16;
	uint32_t offset_32;
	uint32_t reserved;
};

struct __attribute__((packed)) e820_entry {
	uint64_t start;
	uint64_t size_bytes;
	uint32_t type;
};

struct __attribute__((packed)) table_pointer {
	uint16_t limit;
	const void *base;
};

extern const uint8_t trap_stubs[];
extern const uint8_t image_start[];
extern const uint8_t memory_end[];

/* Called by start.S. */
void guest_start(const uint8_t *boot_params);
void trap_unexpected(uint64_t vector, uint64_t rip);

static struct gate idt[VECTOR_COUNT];
static uint64_t ram_end_address;
static uint32_t failure_count;

static void put(char c)
{
	while ((in8(SERIAL_LSR) & LSR_ROOM) == 0)
		;
	out8(SERIAL_DATA, (uint8_t)c);
}

void print(const char *text)
{
	for (; *text != '\0'; text++) {
		if (*text == '\n')
			put('\r');
		put(*text);
	}
}

static void print_digits(uint64_t value, unsigned base)
{
	char digits[24];
	char *start = digits + sizeof(digits);

	*--start = '\0';
	do {
		unsigned digit = (unsigned)(value % base);
		*--start = (char)(digit < 10 ? '0' + digit : 'a' + digit - 10);
		value /= base;
	} while (value != 0);
	print(start);
}

void print_number(uint64_t value)
{
	print_digits(value, 10);
}

void print_hex(uint64_t value)
{
	print("0x");
	print_digits(value, 16);
}

void print_result(const char *text, uint64_t value)
{
	print(text);
	print(" ");
	print_number(value);
	print("\n");
}

void expect(bool is_true, const char *name)
{
	if (!is_true)
		failure_count++;
	print(is_true ? "ok " : "not ok ");
	print(name);
	print("\n");
}

uint32_t failures(void)
{
	return failure_count;
}

void guest_exit(uint32_t status)
{
	out32(EXIT_PORT, status);
	for (;;)
		__asm__ volatile("cli; hlt");
}

void trap_unexpected(uint64_t vector, uint64_t rip)
{
	print("not ok exception ");
	print_number(vector);
	print(" at ");
	print_hex(rip - (uint64_t)image_start);
	print("\n");
	guest_exit(1);
}

uint64_t ram_end(void)
{
	return ram_end_address;
}

uint64_t image_memory_end(void)
{
	return (uint64_t)memory_end;
}

static void idt_load(void)
{
	for (unsigned vector = 0; vector < VECTOR_COUNT; vector++) {
		uint64_t stub = (uint64_t)(trap_stubs + vector * STUB_SIZE_BYTES);

		idt[vector] = (struct gate){ .offset_0 = (uint16_t)stub,
					     .selector = CODE_SELECTOR,
					     .type = GATE_INTERRUPT,
					     .offset_16 = (uint16_t)(stub >> 16),
					     .offset_32 = (uint32_t)(stub >> 32) };
	}
	struct table_pointer pointer = { .limit = sizeof(idt) - 1, .base = idt };
	__asm__ volatile("lidt %0" : : "m"(pointer));
}

static void ram_find(const uint8_t *boot_params)
{
	const struct e820_entry *table = (const void *)(boot_params + PARAMS_E820_TABLE);

	for (unsigned i = 0; i < boot_params[PARAMS_E820_COUNT]; i++) {
		uint64_t end = table[i].start + table[i].size_bytes;

		if (table[i].type == E820_RAM && table[i].start <= LOW_MEMORY_END &&
		    end <= MAPPED_END && end > ram_end_address)
			ram_end_address = end;
	}
}

void guest_start(const uint8_t *boot_params)
{
	out8(SERIAL_LCR, LCR_8_BITS);
	idt_load();
	ram_find(boot_params);
	guest_exit(guest_main());
}
