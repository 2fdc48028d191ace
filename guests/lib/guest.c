/* SPDX-License-Identifier: MIT */
/* See guest.h. Output is polled; the only interrupt is the timer's, during sleep; no allocation. */

#include "guest.h"

#define SERIAL_DATA     0x3f8
#define SERIAL_LCR      0x3fb
#define SERIAL_LSR      0x3fd
#define LSR_ROOM        0x20
#define LSR_DATA        0x01
#define LCR_8_BITS      0x03
#define EXIT_PORT       0xf4
#define VECTOR_COUNT    33
#define VECTOR_TIMER    32
#define STUB_SIZE_BYTES 16
#define GATE_INTERRUPT  0x8e00
#define CODE_SELECTOR   0x08

/* Interrupt controllers and interval timer, as on every PC. */
#define PIC_COMMAND   0x20
#define PIC_DATA      0x21
#define PIC_OTHER     0xa1
#define PIC_INIT      0x11 /* edge triggered, cascaded, a fourth word follows */
#define PIC_CASCADE   0x04
#define PIC_8086      0x01
#define PIC_ALL       0xff
#define PIT_CHANNEL_0 0x40
#define PIT_COMMAND   0x43
#define PIT_RATE      0x34 /* channel 0, both bytes, mode 2 */
#define PIT_HZ        1193182u
#define TICK_MS       10u

/* The local APIC, and the page of low memory in which a second CPU starts. */
#define APIC_SPURIOUS      0xfee000f0ull
#define APIC_COMMAND       0xfee00300ull
#define APIC_TARGET        0xfee00310ull
#define APIC_ENABLED       0x1ff
#define APIC_INIT          0x4500
#define APIC_START_UP      0x4600
#define APIC_ID_SHIFT      24
#define SECOND_START       0x8000ull
#define SECOND_STACK_BYTES 4096

/* Linux boot protocol, "The zero page". */
#define PARAMS_INITRD      0x218
#define PARAMS_INITRD_SIZE 0x21c
#define PARAMS_CMDLINE     0x228
#define PARAMS_E820_COUNT  0x1e8
#define PARAMS_E820_TABLE  0x2d0
#define E820_RAM           1
#define LOW_MEMORY_END     0x100000ull
#define MAPPED_END         0x100000000ull

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
extern const uint8_t timer_stub[];
/* The second CPU's first instructions, and the words that they read, as linked. */
extern const uint8_t second_start[], second_start_end[];
extern const uint8_t second_page_table[], second_entry_address[];
/* Hidden, so that its address is taken relative to RIP, not as linked. */
__attribute__((visibility("hidden"))) void second_entry(void);
void second_main(void);
extern uint64_t second_stack_end;
extern const uint8_t image_start[];
extern const uint8_t memory_end[];

/* Called by start.S. */
void guest_start(const uint8_t *boot_params);
void trap_unexpected(uint64_t vector, uint64_t rip);

static struct gate idt[VECTOR_COUNT];
static uint64_t ram_end_address;
static const char *command_line;
static uint64_t initrd_start, initrd_size_bytes;
static void (*second_body)(void *argument);
static void *second_argument;
static uint8_t second_stack[SECOND_STACK_BYTES] __attribute__((aligned(16)));
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

/* --- the command line --------------------------------------------------------------- */

/* The text after `name` and `=`, or NULL. */
static const char *option_find(const char *name)
{
	for (const char *word = command_line; *word != '\0';) {
		const char *at = word, *c = name;

		while (*c != '\0' && *at == *c) {
			at++;
			c++;
		}
		if (*c == '\0' && *at == '=')
			return at + 1;
		while (*word != '\0' && *word != ' ')
			word++;
		while (*word == ' ')
			word++;
	}
	return NULL;
}

uint64_t option_number(const char *name, uint64_t otherwise)
{
	const char *at = option_find(name);
	uint64_t value = 0;

	if (at == NULL)
		return otherwise;
	for (; *at >= '0' && *at <= '9'; at++)
		value = value * 10 + (uint64_t)(*at - '0');
	return value;
}

bool option_is(const char *name, const char *value)
{
	const char *at = option_find(name);

	if (at == NULL)
		return false;
	while (*value != '\0' && *at == *value) {
		at++;
		value++;
	}
	return *value == '\0' && (*at == '\0' || *at == ' ');
}

/* --- waiting --------------------------------------------------------------------------------- */

static void timer_start(void)
{
	uint16_t count = (uint16_t)(PIT_HZ * TICK_MS / 1000);

	out8(PIC_COMMAND, PIC_INIT);
	out8(PIC_DATA, VECTOR_TIMER);
	out8(PIC_DATA, PIC_CASCADE);
	out8(PIC_DATA, PIC_8086);
	out8(PIC_DATA, PIC_ALL & ~1u);
	out8(PIC_OTHER, PIC_ALL);
	out8(PIT_COMMAND, PIT_RATE);
	out8(PIT_CHANNEL_0, (uint8_t)count);
	out8(PIT_CHANNEL_0, (uint8_t)(count >> 8));
}

void halt_for(uint64_t ticks)
{
	uint64_t start = rdtsc();

	timer_start();
	while (rdtsc() - start < ticks)
		__asm__ volatile("sti; hlt; cli" : : : "memory");
	out8(PIC_DATA, PIC_ALL);
}

void key_wait(const char *prompt)
{
	print(prompt);
	timer_start();
	while ((in8(SERIAL_LSR) & LSR_DATA) == 0)
		__asm__ volatile("sti; hlt; cli" : : : "memory");
	out8(PIC_DATA, PIC_ALL);
	(void)in8(SERIAL_DATA);
	print("\n");
}

/* --- exceptions and interrupts ------------------------------------------------------------ */

static struct gate gate_to(const uint8_t *handler)
{
	uint64_t address = (uint64_t)handler;

	return (struct gate){ .offset_0 = (uint16_t)address,
			      .selector = CODE_SELECTOR,
			      .type = GATE_INTERRUPT,
			      .offset_16 = (uint16_t)(address >> 16),
			      .offset_32 = (uint32_t)(address >> 32) };
}

static void idt_load(void)
{
	for (unsigned vector = 0; vector < VECTOR_TIMER; vector++)
		idt[vector] = gate_to(trap_stubs + vector * STUB_SIZE_BYTES);
	idt[VECTOR_TIMER] = gate_to(timer_stub);
	struct table_pointer pointer = { .limit = sizeof(idt) - 1, .base = idt };
	__asm__ volatile("lidt %0" : : "m"(pointer));
}

/* --- a second CPU --------------------------------------------------------------------------- */

static void apic_write(uint64_t address, uint32_t value)
{
	*(volatile uint32_t *)address = value;
}

static void apic_send(uint32_t command)
{
	apic_write(APIC_TARGET, 1u << APIC_ID_SHIFT);
	apic_write(APIC_COMMAND, command);
}

void second_main(void)
{
	idt_load();
	second_body(second_argument);
}

/* Sets a 32-bit word of the copy in low memory. */
static void second_fill(const uint8_t *word, uint64_t value)
{
	*(volatile uint32_t *)(SECOND_START + (uint64_t)(word - second_start)) = (uint32_t)value;
}

void second_cpu_start(void (*body)(void *argument), void *argument)
{
	uint64_t page_table;

	second_body = body;
	second_argument = argument;
	second_stack_end = (uint64_t)second_stack + SECOND_STACK_BYTES;
	__asm__ volatile("mov %%cr3, %0" : "=r"(page_table));
	for (uint64_t i = 0; i < (uint64_t)(second_start_end - second_start); i++)
		*(volatile uint8_t *)(SECOND_START + i) = second_start[i];
	second_fill(second_page_table, page_table);
	second_fill(second_entry_address, (uint64_t)second_entry);
	apic_write(APIC_SPURIOUS, APIC_ENABLED);
	apic_send(APIC_INIT);
	apic_send(APIC_START_UP | (uint32_t)(SECOND_START / GUEST_PAGE_SIZE));
}

/* --- what the loader gave ------------------------------------------------------------------ */

bool initrd_find(uint64_t *out_start, uint64_t *out_size_bytes)
{
	*out_start = initrd_start;
	*out_size_bytes = initrd_size_bytes;
	return initrd_size_bytes != 0;
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
	initrd_start = *(const uint32_t *)(boot_params + PARAMS_INITRD);
	initrd_size_bytes = *(const uint32_t *)(boot_params + PARAMS_INITRD_SIZE);
	command_line = (const char *)(uint64_t) * (const uint32_t *)(boot_params + PARAMS_CMDLINE);
	guest_exit(guest_main());
}
