/* SPDX-License-Identifier: MIT */
/*
 * The decoder: encodings and lengths as GNU as and objdump have them, one row each. The emulator:
 * results and flags like those of the machine that runs the test.
 */
#include <stdlib.h>
#include <string.h>

#include "test.h"
#include "vm/insn/insn.h"

#define RIP 0x400000ull

#define M16 INSN_MODE_16
#define M32 INSN_MODE_32
#define M64 INSN_MODE_64

/* RAX is 0x1000, RCX 0x2000, RDX 0x3000 and so on: each value tells its register. */
static struct guest_regs test_regs(void)
{
	struct guest_regs regs = { .rip = RIP, .rflags = RFLAGS_FIXED };
	for (unsigned i = 0; i < GPR_COUNT; i++)
		regs.gpr[i] = 0x1000ull * (i + 1);
	return regs;
}

static q_status_t decode(enum insn_mode mode, const void *bytes, unsigned count, struct insn *out)
{
	struct guest_regs regs = test_regs();
	/* A block exactly as large as the input, so that ASan sees a read beyond it. */
	uint8_t *copy = malloc(count ? count : 1);
	assert_non_null(copy);
	memcpy(copy, bytes, count);
	q_status_t status = insn_decode(copy, count, mode, &regs, out);
	free(copy);
	return status;
}

/* --- decoding --------------------------------------------------------------------------------- */

struct row {
	const char *text; /* as objdump prints it */
	enum insn_mode mode;
	unsigned length;
	const char *bytes;
	struct insn want; /* address_size 0: the default of the mode */
};

#define CODE(b) sizeof(b) - 1, (b)
#define LOAD_IN(segment_, size_, register_, reg_, offset_)                                        \
	.operation = INSN_MOV_LOAD, .size = (size_), .register_size = (register_), .reg = (reg_), \
	.segment = (segment_), .offset = (offset_)
#define LOAD(size_, register_, reg_, offset_) LOAD_IN(SEG_DS, size_, register_, reg_, offset_)
#define STORE_IN(segment_, size_, reg_, offset_)                                               \
	.operation = INSN_MOV_STORE, .size = (size_), .register_size = (size_), .reg = (reg_), \
	.segment = (segment_), .offset = (offset_), .memory_is_destination = true
#define STORE(size_, reg_, offset_) STORE_IN(SEG_DS, size_, reg_, offset_)
#define TO_MEMORY(operation_, size_, reg_, offset_)                                          \
	.operation = (operation_), .size = (size_), .register_size = (size_), .reg = (reg_), \
	.segment = SEG_DS, .offset = (offset_), .memory_is_destination = true
#define IMMEDIATE(value) .has_immediate = true, .immediate = (uint64_t)(value)
#define STRING(operation_, size_, segment_)                                   \
	.operation = (operation_), .size = (size_), .register_size = (size_), \
	.segment = (segment_), .memory_is_destination = true

/* clang-format off */
static const struct row rows[] = {
	{ "mov %eax,0x20(%rbx)", M64, CODE("\x89\x43\x20"), { STORE(4, GPR_RAX, 0x4020) } },
	{ "mov %al,(%rdi)", M64, CODE("\x88\x07"), { STORE(1, GPR_RAX, 0x8000) } },
	{ "mov %sil,0x1(%rsi)", M64, CODE("\x40\x88\x76\x01"), { STORE(1, GPR_RSI, 0x7001) } },
	{ "mov %ah,(%rsi)", M64, CODE("\x88\x26"),
	  { STORE(1, GPR_RAX, 0x7000), .reg_is_high_byte = true } },
	{ "mov %r15,-0x8(%r13,%r12,8)", M64, CODE("\x4f\x89\x7c\xe5\xf8"),
	  { STORE(8, GPR_R15, 0xe000 + 8 * 0xd000 - 8) } },
	{ "mov 0xb0(%rax),%edx", M64, CODE("\x8b\x90\xb0\x00\x00\x00"),
	  { LOAD(4, 4, GPR_RDX, 0x10b0) } },
	{ "mov 0x1234(%rip),%ecx", M64, CODE("\x8b\x0d\x34\x12\x00\x00"),
	  { LOAD(4, 4, GPR_RCX, RIP + 6 + 0x1234) } },
	{ "movl $0x12345678,0x10(%rip)", M64, CODE("\xc7\x05\x10\x00\x00\x00\x78\x56\x34\x12"),
	  { STORE(4, 0, RIP + 10 + 0x10), IMMEDIATE(0x12345678) } },
	{ "movl $0x0,0x300(%rax)", M64, CODE("\xc7\x80\x00\x03\x00\x00\x00\x00\x00\x00"),
	  { STORE(4, 0, 0x1300), IMMEDIATE(0) } },
	{ "movb $0x80,(%rcx)", M64, CODE("\xc6\x01\x80"), { STORE(1, 0, 0x2000), IMMEDIATE(-0x80ll) } },
	{ "movw $0xfffe,(%rcx)", M64, CODE("\x66\xc7\x01\xfe\xff"),
	  { STORE(2, 0, 0x2000), IMMEDIATE(-2ll) } },
	{ "movq $-2,0x10(%rdx)", M64, CODE("\x48\xc7\x42\x10\xfe\xff\xff\xff"),
	  { STORE(8, 0, 0x3010), IMMEDIATE(-2ll) } },
	{ "movabs 0x1122334455667788,%eax", M64, CODE("\xa1\x88\x77\x66\x55\x44\x33\x22\x11"),
	  { LOAD(4, 4, GPR_RAX, 0x1122334455667788) } },
	{ "movabs %rax,0x1122334455667788", M64, CODE("\x48\xa3\x88\x77\x66\x55\x44\x33\x22\x11"),
	  { STORE(8, GPR_RAX, 0x1122334455667788) } },
	{ "movabs 0x1122334455667788,%al", M64, CODE("\xa0\x88\x77\x66\x55\x44\x33\x22\x11"),
	  { LOAD(1, 1, GPR_RAX, 0x1122334455667788) } },
	{ "mov 0x12345678,%eax", M64, CODE("\x8b\x04\x25\x78\x56\x34\x12"),
	  { LOAD(4, 4, GPR_RAX, 0x12345678) } },
	{ "mov 0x10(%ebx),%eax", M64, CODE("\x67\x8b\x43\x10"),
	  { LOAD(4, 4, GPR_RAX, 0x4010), .address_size = 4 } },
	{ "mov %fs:(%rax),%eax", M64, CODE("\x64\x8b\x00"),
	  { LOAD_IN(SEG_FS, 4, 4, GPR_RAX, 0x1000) } },
	{ "mov %gs:0x8(%rsp),%rax", M64, CODE("\x65\x48\x8b\x44\x24\x08"),
	  { LOAD_IN(SEG_GS, 8, 8, GPR_RAX, 0x5008) } },
	{ "mov %es:(%rax),%eax", M64, CODE("\x26\x8b\x00"), { LOAD(4, 4, GPR_RAX, 0x1000) } },
	{ "mov 0x0(%rbp),%eax", M64, CODE("\x8b\x45\x00"),
	  { LOAD_IN(SEG_SS, 4, 4, GPR_RAX, 0x6000) } },
	{ "mov 0x4(%r13),%eax", M64, CODE("\x41\x8b\x45\x04"), { LOAD(4, 4, GPR_RAX, 0xe004) } },
	{ "mov 0x100(%r12),%eax", M64, CODE("\x41\x8b\x84\x24\x00\x01\x00\x00"),
	  { LOAD(4, 4, GPR_RAX, 0xd100) } },
	{ "mov 0x10(,%rsi,4),%eax", M64, CODE("\x8b\x04\xb5\x10\x00\x00\x00"),
	  { LOAD(4, 4, GPR_RAX, 4 * 0x7000 + 0x10) } },
	{ "movzbl 0x3(%rax),%r9d", M64, CODE("\x44\x0f\xb6\x48\x03"), { LOAD(1, 4, GPR_R9, 0x1003) } },
	{ "movzwl (%rax),%eax", M64, CODE("\x0f\xb7\x00"), { LOAD(2, 4, GPR_RAX, 0x1000) } },
	{ "movsbq (%rax),%rdx", M64, CODE("\x48\x0f\xbe\x10"),
	  { LOAD(1, 8, GPR_RDX, 0x1000), .is_sign_extended = true } },
	{ "movswl (%rax),%edx", M64, CODE("\x0f\xbf\x10"),
	  { LOAD(2, 4, GPR_RDX, 0x1000), .is_sign_extended = true } },
	{ "movslq 0x4(%rax),%rdx", M64, CODE("\x48\x63\x50\x04"),
	  { LOAD(4, 8, GPR_RDX, 0x1004), .is_sign_extended = true } },
	{ "orl $0x100,0xf0(%rax)", M64, CODE("\x81\x88\xf0\x00\x00\x00\x00\x01\x00\x00"),
	  { TO_MEMORY(INSN_ALU, 4, 0, 0x10f0), .alu = ALU_OR, IMMEDIATE(0x100) } },
	{ "andl $-2,(%rax)", M64, CODE("\x83\x20\xfe"),
	  { TO_MEMORY(INSN_ALU, 4, 0, 0x1000), .alu = ALU_AND, IMMEDIATE(-2ll) } },
	{ "addb $0x1,(%rax)", M64, CODE("\x80\x00\x01"),
	  { TO_MEMORY(INSN_ALU, 1, 0, 0x1000), .alu = ALU_ADD, IMMEDIATE(1) } },
	{ "add %ecx,(%rax)", M64, CODE("\x01\x08"),
	  { TO_MEMORY(INSN_ALU, 4, GPR_RCX, 0x1000), .alu = ALU_ADD } },
	{ "sub (%rax),%rcx", M64, CODE("\x48\x2b\x08"),
	  { .operation = INSN_ALU, .alu = ALU_SUB, .size = 8, .register_size = 8, .reg = GPR_RCX,
	    .segment = SEG_DS, .offset = 0x1000 } },
	{ "cmp %ecx,(%rax)", M64, CODE("\x39\x08"),
	  { TO_MEMORY(INSN_ALU, 4, GPR_RCX, 0x1000), .alu = ALU_CMP } },
	{ "cmpl $0x12345,(%rax)", M64, CODE("\x81\x38\x45\x23\x01\x00"),
	  { TO_MEMORY(INSN_ALU, 4, 0, 0x1000), .alu = ALU_CMP, IMMEDIATE(0x12345) } },
	{ "testl $0x1000,0x300(%rax)", M64, CODE("\xf7\x80\x00\x03\x00\x00\x00\x10\x00\x00"),
	  { TO_MEMORY(INSN_ALU, 4, 0, 0x1300), .alu = ALU_TEST, IMMEDIATE(0x1000) } },
	{ "testb $0x1,(%rax)", M64, CODE("\xf6\x00\x01"),
	  { TO_MEMORY(INSN_ALU, 1, 0, 0x1000), .alu = ALU_TEST, IMMEDIATE(1) } },
	{ "test %ecx,(%rax)", M64, CODE("\x85\x08"),
	  { TO_MEMORY(INSN_ALU, 4, GPR_RCX, 0x1000), .alu = ALU_TEST } },
	{ "xchg %eax,(%rdx)", M64, CODE("\x87\x02"), { TO_MEMORY(INSN_XCHG, 4, GPR_RAX, 0x3000) } },
	{ "xchg %cl,(%rdx)", M64, CODE("\x86\x0a"), { TO_MEMORY(INSN_XCHG, 1, GPR_RCX, 0x3000) } },
	{ "lock orl $0x1,(%rax)", M64, CODE("\xf0\x83\x08\x01"),
	  { TO_MEMORY(INSN_ALU, 4, 0, 0x1000), .alu = ALU_OR, IMMEDIATE(1) } },
	{ "rep stos %eax,%es:(%rdi)", M64, CODE("\xf3\xab"),
	  { STRING(INSN_STOS, 4, SEG_ES), .is_rep = true } },
	{ "stos %al,%es:(%rdi)", M64, CODE("\xaa"), { STRING(INSN_STOS, 1, SEG_ES) } },
	{ "rep movsq %ds:(%rsi),%es:(%rdi)", M64, CODE("\xf3\x48\xa5"),
	  { STRING(INSN_MOVS, 8, SEG_DS), .is_rep = true } },
	{ "movsb %ds:(%rsi),%es:(%rdi)", M64, CODE("\xa4"), { STRING(INSN_MOVS, 1, SEG_DS) } },
	/* A REX prefix before another prefix does nothing. */
	{ "rex.W mov %ax,(%rbx)", M64, CODE("\x48\x66\x89\x03"), { STORE(2, GPR_RAX, 0x4000) } },
	{ "mov %rax,(%rbx) with 66", M64, CODE("\x66\x48\x89\x03"), { STORE(8, GPR_RAX, 0x4000) } },
	{ "mov %eax,0x20(%ebx)", M32, CODE("\x89\x43\x20"), { STORE(4, GPR_RAX, 0x4020) } },
	{ "mov 0xfee00020,%eax", M32, CODE("\xa1\x20\x00\xe0\xfe"), { LOAD(4, 4, GPR_RAX, 0xfee00020) } },
	{ "mov %al,0xb8000", M32, CODE("\xa2\x00\x80\x0b\x00"), { STORE(1, GPR_RAX, 0xb8000) } },
	{ "mov %dh,(%esi)", M32, CODE("\x88\x36"),
	  { STORE(1, GPR_RDX, 0x7000), .reg_is_high_byte = true } },
	{ "mov 0x8(%ebp),%ax", M32, CODE("\x66\x8b\x45\x08"),
	  { LOAD_IN(SEG_SS, 2, 2, GPR_RAX, 0x6008) } },
	{ "mov 0x10(%bp,%si),%eax", M32, CODE("\x67\x8b\x42\x10"),
	  { LOAD_IN(SEG_SS, 4, 4, GPR_RAX, 0xd010), .address_size = 2 } },
	{ "movl $0x7,%es:(%eax,%ecx,2)", M32, CODE("\x26\xc7\x04\x48\x07\x00\x00\x00"),
	  { STORE_IN(SEG_ES, 4, 0, 0x1000 + 2 * 0x2000), IMMEDIATE(7) } },
	{ "orl $-1,0xfee000f0", M32, CODE("\x83\x0d\xf0\x00\xe0\xfe\xff"),
	  { TO_MEMORY(INSN_ALU, 4, 0, 0xfee000f0), .alu = ALU_OR, IMMEDIATE(-1ll) } },
	{ "repnz stos %eax,%es:(%edi)", M32, CODE("\xf2\xab"),
	  { STRING(INSN_STOS, 4, SEG_ES), .is_rep = true } },
	{ "rep movsb %cs:(%esi),%es:(%edi)", M32, CODE("\x2e\xf3\xa4"),
	  { STRING(INSN_MOVS, 1, SEG_CS), .is_rep = true } },
	{ "mov %al,0x10(%bx,%si)", M16, CODE("\x88\x40\x10"), { STORE(1, GPR_RAX, 0xb010) } },
	{ "mov 0x0(%bp),%ax", M16, CODE("\x8b\x46\x00"),
	  { LOAD_IN(SEG_SS, 2, 2, GPR_RAX, 0x6000) } },
	{ "mov 0x1234,%cx", M16, CODE("\x8b\x0e\x34\x12"), { LOAD(2, 2, GPR_RCX, 0x1234) } },
	{ "mov 0x1234,%ax", M16, CODE("\xa1\x34\x12"), { LOAD(2, 2, GPR_RAX, 0x1234) } },
	{ "movl $0x1,0x20(%di)", M16, CODE("\x66\xc7\x45\x20\x01\x00\x00\x00"),
	  { STORE(4, 0, 0x8020), IMMEDIATE(1) } },
	{ "mov 0x10(%eax),%ebx", M16, CODE("\x67\x66\x8b\x58\x10"),
	  { LOAD(4, 4, GPR_RBX, 0x1010), .address_size = 4 } },
	{ "rep stos %ax,%es:(%di)", M16, CODE("\xf3\xab"),
	  { STRING(INSN_STOS, 2, SEG_ES), .is_rep = true } },
	{ "rep movsl %ds:(%si),%es:(%di)", M16, CODE("\x66\xf3\xa5"),
	  { STRING(INSN_MOVS, 4, SEG_DS), .is_rep = true } },
	{ "movb $0x41,%es:(%di)", M16, CODE("\x26\xc6\x05\x41"),
	  { STORE_IN(SEG_ES, 1, 0, 0x8000), IMMEDIATE(0x41) } },
	{ "movzbw (%bx),%ax", M16, CODE("\x0f\xb6\x07"), { LOAD(1, 2, GPR_RAX, 0x4000) } },
	{ "cpuid", M32, CODE("\x0f\xa2"), { .operation = INSN_SIMPLE, .opcode = 0x0fa2 } },
	{ "hlt", M16, CODE("\xf4"), { .operation = INSN_SIMPLE, .opcode = 0xf4 } },
	{ "rdmsr", M64, CODE("\x0f\x32"), { .operation = INSN_SIMPLE, .opcode = 0x0f32 } },
	{ "wrmsr", M64, CODE("\x0f\x30"), { .operation = INSN_SIMPLE, .opcode = 0x0f30 } },
	{ "vmmcall", M64, CODE("\x0f\x01\xd9"),
	  { .operation = INSN_SIMPLE, .opcode = 0x0f01, .immediate = 0xd9 } },
	{ "vmcall", M64, CODE("\x0f\x01\xc1"),
	  { .operation = INSN_SIMPLE, .opcode = 0x0f01, .immediate = 0xc1 } },
	{ "rdtscp", M64, CODE("\x0f\x01\xf9"),
	  { .operation = INSN_SIMPLE, .opcode = 0x0f01, .immediate = 0xf9 } },
	{ "xsetbv", M64, CODE("\x0f\x01\xd1"),
	  { .operation = INSN_SIMPLE, .opcode = 0x0f01, .immediate = 0xd1 } },
	{ "wbinvd", M64, CODE("\x0f\x09"), { .operation = INSN_SIMPLE, .opcode = 0x0f09 } },
	{ "invd", M64, CODE("\x0f\x08"), { .operation = INSN_SIMPLE, .opcode = 0x0f08 } },
	{ "rdtsc", M64, CODE("\x0f\x31"), { .operation = INSN_SIMPLE, .opcode = 0x0f31 } },
	{ "rdpmc", M64, CODE("\x0f\x33"), { .operation = INSN_SIMPLE, .opcode = 0x0f33 } },
	{ "rex.W cpuid with 66 f3", M64, CODE("\x66\xf3\x48\x0f\xa2"),
	  { .operation = INSN_SIMPLE, .opcode = 0x0fa2 } },
};
/* clang-format on */

static uint8_t default_address_size(const struct row *row)
{
	static const uint8_t sizes[] = { [M16] = 2, [M32] = 4, [M64] = 8 };
	if (row->want.operation == INSN_SIMPLE)
		return 0;
	return row->want.address_size ? row->want.address_size : sizes[row->mode];
}

static void expect_insn(const struct row *row, const struct insn *got)
{
	const struct insn *want = &row->want;
	bool same = got->length == row->length && got->operation == want->operation &&
		    got->alu == want->alu && got->size == want->size &&
		    got->register_size == want->register_size &&
		    got->is_sign_extended == want->is_sign_extended &&
		    got->has_immediate == want->has_immediate &&
		    got->immediate == want->immediate &&
		    got->memory_is_destination == want->memory_is_destination &&
		    got->is_rep == want->is_rep && got->address_size == default_address_size(row) &&
		    got->reg == want->reg && got->reg_is_high_byte == want->reg_is_high_byte &&
		    got->segment == want->segment && got->offset == want->offset &&
		    (!want->opcode || got->opcode == want->opcode);
	if (!same)
		fail_msg("%s: length %u op %d alu %d size %u/%u reg %u seg %u off %#lx imm %#lx",
			 row->text, got->length, got->operation, got->alu, got->size,
			 got->register_size, got->reg, got->segment, got->offset, got->immediate);
}

TEST(insn, known_encodings_decode_as_the_assembler_means_them)
{
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		struct insn insn;
		if (decode(rows[i].mode, rows[i].bytes, rows[i].length, &insn) != Q_OK)
			fail_msg("%s: not decoded", rows[i].text);
		expect_insn(&rows[i], &insn);
	}
}

TEST(insn, bytes_behind_the_instruction_do_not_matter)
{
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		uint8_t bytes[INSN_MAX_BYTES + 1];
		struct insn insn;
		memset(bytes, 0xff, sizeof(bytes));
		memcpy(bytes, rows[i].bytes, rows[i].length);
		EXPECT(decode(rows[i].mode, bytes, sizeof(bytes), &insn) == Q_OK);
		expect_insn(&rows[i], &insn);
	}
}

TEST(insn, a_truncated_instruction_asks_for_more)
{
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		for (unsigned count = 0; count < rows[i].length; count++) {
			struct insn insn;
			if (decode(rows[i].mode, rows[i].bytes, count, &insn) != Q_RANGE)
				fail_msg("%s: %u bytes are not refused", rows[i].text, count);
		}
	}
}

TEST(insn, fifteen_bytes_are_the_limit)
{
	uint8_t bytes[16];
	struct insn insn;
	memset(bytes, 0x3e, sizeof(bytes));
	EXPECT(decode(M64, bytes, 14, &insn) == Q_RANGE);
	EXPECT(decode(M64, bytes, 15, &insn) == Q_INVALID);
	EXPECT(decode(M64, bytes, 16, &insn) == Q_INVALID);

	memcpy(bytes + 13, "\x89\x03", 2);
	EXPECT(decode(M64, bytes, 15, &insn) == Q_OK);
	EXPECT(insn.length == 15);
	memcpy(bytes + 13, "\x89\x43\x20", 3);
	EXPECT(decode(M64, bytes, 16, &insn) == Q_INVALID);
}

TEST(insn, what_is_not_ours_is_refused)
{
	static const struct {
		enum insn_mode mode;
		unsigned length;
		const char *bytes;
		q_status_t want;
	} refused[] = {
		{ M64, CODE("\x90"), Q_UNSUPPORTED },             /* nop */
		{ M64, CODE("\x89\xc3"), Q_UNSUPPORTED },         /* mov %eax,%ebx */
		{ M64, CODE("\xc6\xf8\x00"), Q_UNSUPPORTED },     /* xabort */
		{ M64, CODE("\xf7\x18"), Q_UNSUPPORTED },         /* negl (%rax) */
		{ M64, CODE("\x0f\x01\x10"), Q_UNSUPPORTED },     /* lgdt (%rax) */
		{ M64, CODE("\x0f\x0b"), Q_UNSUPPORTED },         /* ud2 */
		{ M32, CODE("\x63\x00"), Q_UNSUPPORTED },         /* arpl */
		{ M32, CODE("\x48\x89\x03"), Q_UNSUPPORTED },     /* dec %eax; ... */
		{ M64, CODE("\xc5\xf8\x10\x00"), Q_UNSUPPORTED }, /* vmovups (%rax),%xmm0 */
		{ M64, CODE("\xc7\x08\x00\x00\x00\x00"), Q_INVALID },
		{ M64, CODE("\xf0\x89\x03"), Q_INVALID },     /* lock mov */
		{ M64, CODE("\xf0\x83\x38\x01"), Q_INVALID }, /* lock cmp */
		{ M64, CODE("\xf0\x03\x08"), Q_INVALID },     /* lock add to a register */
		{ M64, CODE("\xf0\xf3\xab"), Q_INVALID },     /* lock stos */
		{ M64, CODE("\xf0\x0f\xa2"), Q_INVALID },     /* lock cpuid */
	};
	for (size_t i = 0; i < ARRAY_COUNT(refused); i++) {
		struct insn insn;
		q_status_t got =
			decode(refused[i].mode, refused[i].bytes, refused[i].length, &insn);
		if (got != refused[i].want)
			fail_msg("row %zu: status %d", i, got);
	}
}

/* Offsets wrap at the address size, not beyond. */
TEST(insn, addresses_wrap)
{
	struct guest_regs regs = test_regs();
	struct insn insn;
	regs.gpr[GPR_RBX] = 0xffff;
	EXPECT(insn_decode((const uint8_t *)"\x88\x40\x10", 3, M16, &regs, &insn) == Q_OK);
	EXPECT(insn.offset == ((0xffff + 0x7000 + 0x10) & 0xffff));
	regs.gpr[GPR_RBX] = 0xfffffff0;
	EXPECT(insn_decode((const uint8_t *)"\x89\x43\x20", 3, M32, &regs, &insn) == Q_OK);
	EXPECT(insn.offset == 0x10);
}

/* --- execution -------------------------------------------------------------------------------- */

static struct insn decoded(const char *bytes, unsigned length)
{
	struct insn insn = { 0 };
	assert_int_equal(decode(M64, bytes, length, &insn), Q_OK);
	return insn;
}

#define DECODED(bytes) decoded((bytes), sizeof(bytes) - 1)

TEST(insn, loads_extend_as_the_register_size_says)
{
	struct guest_regs regs = test_regs();
	uint64_t unused;
	struct insn insn;

	regs.gpr[GPR_RAX] = ~0ull;
	insn = DECODED("\x8b\x03"); /* mov (%rbx),%eax */
	EXPECT(!insn_execute(&insn, &regs, 0x1234567889abcdef, &unused));
	EXPECT(regs.gpr[GPR_RAX] == 0x89abcdef);

	regs.gpr[GPR_RAX] = 0x1111111111111111;
	insn = DECODED("\x66\x8b\x03"); /* mov (%rbx),%ax */
	insn_execute(&insn, &regs, 0xffff2222, &unused);
	EXPECT(regs.gpr[GPR_RAX] == 0x1111111111112222);
	insn = DECODED("\x8a\x23"); /* mov (%rbx),%ah */
	insn_execute(&insn, &regs, 0xff33, &unused);
	EXPECT(regs.gpr[GPR_RAX] == 0x1111111111113322);
	insn = DECODED("\x8a\x03"); /* mov (%rbx),%al */
	insn_execute(&insn, &regs, 0xff44, &unused);
	EXPECT(regs.gpr[GPR_RAX] == 0x1111111111113344);

	insn = DECODED("\x48\x0f\xbe\x10"); /* movsbq (%rax),%rdx */
	insn_execute(&insn, &regs, 0x80, &unused);
	EXPECT(regs.gpr[GPR_RDX] == 0xffffffffffffff80);
	insn = DECODED("\x0f\xbf\x10"); /* movswl (%rax),%edx */
	insn_execute(&insn, &regs, 0x8000, &unused);
	EXPECT(regs.gpr[GPR_RDX] == 0xffff8000);
	insn = DECODED("\x0f\xb6\x10"); /* movzbl (%rax),%edx */
	insn_execute(&insn, &regs, 0xfff0, &unused);
	EXPECT(regs.gpr[GPR_RDX] == 0xf0);
}

TEST(insn, stores_and_exchanges_give_the_value)
{
	struct guest_regs regs = test_regs();
	uint64_t out = 0;
	struct insn insn;

	regs.gpr[GPR_RAX] = 0x1122334455667788;
	insn = DECODED("\x88\x26"); /* mov %ah,(%rsi) */
	EXPECT(insn_execute(&insn, &regs, 0, &out) && out == 0x77);
	insn = DECODED("\x89\x06"); /* mov %eax,(%rsi) */
	EXPECT(insn_execute(&insn, &regs, 0, &out) && out == 0x55667788);
	insn = DECODED("\x66\xc7\x01\xfe\xff"); /* movw $-2,(%rcx) */
	EXPECT(insn_execute(&insn, &regs, 0, &out) && out == 0xfffe);
	insn = DECODED("\x87\x02"); /* xchg %eax,(%rdx) */
	EXPECT(insn_execute(&insn, &regs, 0xcafe, &out) && out == 0x55667788);
	EXPECT(regs.gpr[GPR_RAX] == 0xcafe);
}

TEST(insn, string_instructions_do_one_element)
{
	struct guest_regs regs = test_regs();
	uint64_t out = 0;
	struct insn insn = DECODED("\xf3\xab"); /* rep stos %eax */

	regs.gpr[GPR_RCX] = 2;
	regs.gpr[GPR_RAX] = 0xaabbccdd11223344;
	EXPECT(insn_execute(&insn, &regs, 0, &out) && out == 0x11223344);
	EXPECT(regs.gpr[GPR_RDI] == 0x8004 && regs.gpr[GPR_RCX] == 1);
	EXPECT(insn_execute(&insn, &regs, 0, &out));
	EXPECT(!insn_execute(&insn, &regs, 0, &out));
	EXPECT(regs.gpr[GPR_RDI] == 0x8008 && regs.gpr[GPR_RCX] == 0);

	insn = DECODED("\x48\xa5"); /* movsq, no rep, downwards */
	regs.rflags |= RFLAGS_DF;
	EXPECT(insn_execute(&insn, &regs, 0x55, &out) && out == 0x55);
	EXPECT(regs.gpr[GPR_RSI] == 0x6ff8 && regs.gpr[GPR_RDI] == 0x8000);

	/* With 16-bit addresses SI and DI wrap and the rest of RSI and RDI stays. */
	regs.rflags &= ~RFLAGS_DF;
	regs.gpr[GPR_RDI] = 0x1ffff;
	regs.gpr[GPR_RCX] = 0x30000;
	EXPECT(decode(M16, "\xf3\xaa", 2, &insn) == Q_OK);
	EXPECT(!insn_execute(&insn, &regs, 0, &out));
	regs.gpr[GPR_RCX] = 0x30001;
	EXPECT(insn_execute(&insn, &regs, 0, &out));
	EXPECT(regs.gpr[GPR_RDI] == 0x10000 && regs.gpr[GPR_RCX] == 0x30000);
}

/* --- arithmetic, against the machine ---------------------------------------------------------- */

#define FLAGS_ALL (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)

/* Computes `a op b` and its flags on this machine; steps over the red zone before it pushes. */
#define NATIVE(mnemonic, type)                                                           \
	{                                                                                \
		type x = (type)a, y = (type)b;                                           \
		asm volatile("leaq -128(%%rsp), %%rsp\n\tpushq %4\n\tpopfq\n\t" mnemonic \
			     " %3, %0\n\tpushfq\n\tpopq %1\n\tleaq 128(%%rsp), %%rsp"    \
			     : "=r"(x), "=r"(flags)                                      \
			     : "0"(x), "r"(y), "r"(flags_in)                             \
			     : "cc", "memory");                                          \
		result = x;                                                              \
	}

#define NATIVE_SIZES(name)                         \
	switch (size) {                            \
	case 1: NATIVE(name "b", uint8_t) break;   \
	case 2: NATIVE(name "w", uint16_t) break;  \
	case 4: NATIVE(name "l", uint32_t) break;  \
	default: NATIVE(name "q", uint64_t) break; \
	}                                          \
	break

static uint64_t native(enum insn_alu alu, unsigned size, uint64_t a, uint64_t b, uint64_t flags_in,
		       uint64_t *out_flags)
{
	uint64_t result = 0, flags = 0;
	switch (alu) {
	case ALU_ADD: NATIVE_SIZES("add");
	case ALU_OR: NATIVE_SIZES("or");
	case ALU_ADC: NATIVE_SIZES("adc");
	case ALU_SBB: NATIVE_SIZES("sbb");
	case ALU_AND: NATIVE_SIZES("and");
	case ALU_SUB: NATIVE_SIZES("sub");
	case ALU_XOR: NATIVE_SIZES("xor");
	case ALU_CMP: NATIVE_SIZES("cmp");
	case ALU_TEST: NATIVE_SIZES("test");
	}
	*out_flags = flags;
	return result;
}

static const uint64_t samples[] = {
	0,
	1,
	2,
	7,
	8,
	0xf,
	0x10,
	0x7f,
	0x80,
	0x81,
	0xff,
	0x100,
	0x7fff,
	0x8000,
	0xffff,
	0x7fffffff,
	0x80000000,
	0xffffffff,
	0x123456789abcdef0,
	0x7fffffffffffffff,
	0x8000000000000000,
	0xfffffffffffffffe,
	0xffffffffffffffff,
};

static uint64_t low_bytes(uint64_t value, unsigned size)
{
	return size == 8 ? value : value & ((1ull << 8 * size) - 1);
}

static void expect_native(enum insn_alu alu, unsigned size, uint64_t a, uint64_t b, uint64_t carry)
{
	struct insn insn = { .operation = INSN_ALU,
			     .alu = alu,
			     .size = (uint8_t)size,
			     .register_size = (uint8_t)size,
			     .memory_is_destination = true,
			     .reg = GPR_RCX };
	struct guest_regs regs = test_regs();
	bool is_logic = alu == ALU_OR || alu == ALU_AND || alu == ALU_XOR || alu == ALU_TEST;
	uint64_t compared = is_logic ? FLAGS_ALL & ~RFLAGS_AF : FLAGS_ALL;
	uint64_t want_flags, got = 0;

	regs.gpr[GPR_RCX] = b;
	regs.rflags = RFLAGS_FIXED | carry;
	uint64_t want = native(alu, size, a, b, RFLAGS_FIXED | carry, &want_flags);
	bool writes = insn_execute(&insn, &regs, a, &got);
	EXPECT(writes == (alu != ALU_CMP && alu != ALU_TEST));
	if (writes && got != want)
		fail_msg("alu %d size %u %#lx %#lx: %#lx, not %#lx", alu, size, a, b, got, want);
	if ((regs.rflags ^ want_flags) & compared)
		fail_msg("alu %d size %u %#lx %#lx: flags %#lx, not %#lx", alu, size, a, b,
			 regs.rflags, want_flags);

	/* The other direction: register first, memory second. */
	if (!writes)
		return;
	insn.memory_is_destination = false;
	regs.gpr[GPR_RCX] = a;
	regs.rflags = RFLAGS_FIXED | carry;
	EXPECT(!insn_execute(&insn, &regs, b, &got));
	EXPECT(low_bytes(regs.gpr[GPR_RCX], size) == low_bytes(want, size));
}

TEST(insn, arithmetic_is_what_the_machine_does)
{
	static const unsigned sizes[] = { 1, 2, 4, 8 };
	for (int alu = ALU_ADD; alu <= ALU_TEST; alu++)
		for (size_t s = 0; s < ARRAY_COUNT(sizes); s++)
			for (size_t i = 0; i < ARRAY_COUNT(samples); i++)
				for (size_t k = 0; k < ARRAY_COUNT(samples); k++) {
					expect_native((enum insn_alu)alu, sizes[s], samples[i],
						      samples[k], 0);
					expect_native((enum insn_alu)alu, sizes[s], samples[i],
						      samples[k], RFLAGS_CF);
				}
}

TEST(insn, other_flags_stay)
{
	struct guest_regs regs = test_regs();
	uint64_t out;
	struct insn insn = DECODED("\x83\x20\x00"); /* andl $0,(%rax) */
	regs.rflags = RFLAGS_FIXED | RFLAGS_IF | RFLAGS_DF | RFLAGS_CF | RFLAGS_OF;
	EXPECT(insn_execute(&insn, &regs, 5, &out) && out == 0);
	EXPECT(regs.rflags == (RFLAGS_FIXED | RFLAGS_IF | RFLAGS_DF | RFLAGS_ZF | RFLAGS_PF));
}
