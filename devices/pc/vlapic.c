/* SPDX-License-Identifier: MIT */
/*
 * Local APIC: registers, priorities, acceptance and end of interrupts.
 *
 * All registers are in one array by number, so that reading nearly any of them is
 * one load; PPR is kept up to date there. IRR and ISR have a summary byte each, with
 * a bit for each word, so that two bit scans find the highest vector. `pending`
 * tells whether the vCPU would take an interrupt now. It is worked out after each
 * change, because it is read before each entry into the guest.
 *
 * No firmware runs in the guest, so vCPU 0 starts in the state that firmware leaves:
 * LINT0 is ExtINT, LINT1 is NMI. Otherwise a kernel that is started directly would
 * not get the interrupts of the PIT.
 *
 * Invariants, asserted by check():
 *   L1  The summaries tell which words of IRR and ISR are not zero.
 *   L2  PPR and `pending` follow from the other registers.
 *   L3  No vector below 16 is requested or in service.
 *   L4  A disabled APIC has no vector requested or in service, and no timer armed.
 *
 * Reference: Intel SDM vol. 3, "Advanced Programmable Interrupt Controller (APIC)".
 */
#include "vlapic.h"

#include <quire/assert.h>

#include "lib/string.h"

#include "vpc_internal.h"

/* Integrated APIC with local vectors 0..5, which cannot suppress EOI broadcasts. */
#define VERSION        0x00050014u
#define SVR_RESET      0x000000ffu
#define SVR_WRITABLE   0x000003ffu
#define DFR_FIXED_BITS 0x0fffffffu
#define LDR_WRITABLE   0xff000000u
#define LVT_EXTINT     (DELIVERY_EXTINT << 8)
#define LVT_NMI        (DELIVERY_NMI << 8)
#define PRIORITY_CLASS 0xf0u
#define WORD_COUNT     8u
#define NO_VECTOR      (-1)

/* The bits that software can write in each local vector entry, timer first. */
static const uint32_t lvt_writable[] = { 0x700ff, 0x107ff, 0x107ff, 0x1a7ff, 0x1a7ff, 0x100ff };

uint32_t vlapic_lvt_writable(unsigned number)
{
	return lvt_writable[number - LAPIC_LVT_FIRST];
}

static void word_set(uint32_t *words, uint8_t *summary, uint8_t vector)
{
	words[vector / 32] |= BIT32(vector % 32);
	*summary |= (uint8_t)BIT32(vector / 32);
}

static void word_clear(uint32_t *words, uint8_t *summary, uint8_t vector)
{
	words[vector / 32] &= ~BIT32(vector % 32);
	if (words[vector / 32] == 0)
		*summary &= (uint8_t)~BIT32(vector / 32);
}

static int highest(const uint32_t *words, uint8_t summary)
{
	if (summary == 0)
		return NO_VECTOR;
	unsigned word = 31u - (unsigned)__builtin_clz(summary);
	return (int)(word * 32 + 31u - (unsigned)__builtin_clz(words[word]));
}

/* See the manual, "Task and Processor Priorities". */
static uint32_t processor_priority(const struct vlapic *lapic)
{
	uint32_t task = lapic->regs[LAPIC_TPR];
	int in_service = highest(&lapic->regs[LAPIC_ISR], lapic->isr_summary);
	if (in_service == NO_VECTOR)
		return task;
	uint32_t class = (uint32_t)in_service & PRIORITY_CLASS;
	return (task & PRIORITY_CLASS) >= class ? task : class;
}

static bool is_deliverable(const struct vlapic *lapic)
{
	int vector = highest(&lapic->regs[LAPIC_IRR], lapic->irr_summary);
	if (vector == NO_VECTOR)
		return false;
	return ((uint32_t)vector & PRIORITY_CLASS) > (lapic->regs[LAPIC_PPR] & PRIORITY_CLASS);
}

void vlapic_pending_set(struct vpc *vpc, struct vlapic *lapic, uint8_t bit, bool is_pending)
{
	uint8_t before = lapic->pending;
	vpc->bus.changes++; /* even if only the task priority changed */
	lapic->pending = is_pending ? before | bit : before & (uint8_t)~bit;
	if (before == 0 && lapic->pending != 0)
		vpc->host->interrupt(vpc->vm, lapic->index);
}

void vlapic_update(struct vpc *vpc, struct vlapic *lapic)
{
	lapic->regs[LAPIC_PPR] = processor_priority(lapic);
	vlapic_pending_set(vpc, lapic, LAPIC_PENDING_APIC, is_deliverable(lapic));
}

void vlapic_nmi(struct vpc *vpc, struct vlapic *lapic)
{
	vpc->bus.changes++;
	lapic->is_nmi_pending = true;
	vpc->host->interrupt(vpc->vm, lapic->index);
}

void vlapic_error(struct vpc *vpc, struct vlapic *lapic, uint32_t error)
{
	uint32_t lvt = lapic->regs[LAPIC_LVT_ERROR];
	uint8_t vector = (uint8_t)field_get(lvt, LAPIC_VECTOR);

	lapic->errors |= error;
	/* A bad error vector is an error itself, but reporting it would need this vector. */
	if ((lvt & LAPIC_LVT_MASKED) || vector < LAPIC_VECTOR_MIN)
		return;
	(void)vlapic_accept(vpc, lapic, vector, false);
}

bool vlapic_accept(struct vpc *vpc, struct vlapic *lapic, uint8_t vector, bool is_level)
{
	if (!vlapic_is_enabled(lapic) || !(lapic->regs[LAPIC_SVR] & LAPIC_SVR_ENABLED))
		return false;
	if (vector < LAPIC_VECTOR_MIN) {
		vlapic_error(vpc, lapic, LAPIC_ERROR_RECEIVE_VECTOR);
		return false;
	}
	uint32_t *trigger = &lapic->regs[LAPIC_TMR + vector / 32];
	*trigger = (*trigger & ~BIT32(vector % 32)) | (is_level ? BIT32(vector % 32) : 0);
	word_set(&lapic->regs[LAPIC_IRR], &lapic->irr_summary, vector);
	vlapic_update(vpc, lapic);
	return true;
}

void vlapic_lvt_fire(struct vpc *vpc, struct vlapic *lapic, enum vlapic_register number)
{
	uint32_t lvt = lapic->regs[number];
	if (lvt & LAPIC_LVT_MASKED)
		return;
	uint64_t mode = field_get(lvt, LAPIC_LVT_MODE);
	if (mode == DELIVERY_FIXED)
		(void)vlapic_accept(vpc, lapic, (uint8_t)field_get(lvt, LAPIC_VECTOR), false);
	else if (mode == DELIVERY_NMI)
		vlapic_nmi(vpc, lapic);
}

uint8_t vlapic_acknowledge(struct vpc *vpc, struct vlapic *lapic)
{
	int vector = highest(&lapic->regs[LAPIC_IRR], lapic->irr_summary);
	if (!(lapic->pending & LAPIC_PENDING_APIC) || vector == NO_VECTOR)
		return (uint8_t)field_get(lapic->regs[LAPIC_SVR], LAPIC_VECTOR);
	word_clear(&lapic->regs[LAPIC_IRR], &lapic->irr_summary, (uint8_t)vector);
	word_set(&lapic->regs[LAPIC_ISR], &lapic->isr_summary, (uint8_t)vector);
	vlapic_update(vpc, lapic);
	return (uint8_t)vector;
}

/* While the APIC is disabled, the PIC drives the CPU's INTR pin. */
static bool takes_extint(const struct vlapic *lapic)
{
	uint32_t lint0 = lapic->regs[LAPIC_LVT_LINT0];
	if (!vlapic_is_enabled(lapic))
		return true;
	return !(lint0 & LAPIC_LVT_MASKED) && field_get(lint0, LAPIC_LVT_MODE) == DELIVERY_EXTINT;
}

void vlapic_extint_update(struct vpc *vpc)
{
	struct vlapic *lapic = &vpc->lapics[0];
	bool is_pending = vpc->pic.intr && takes_extint(lapic);
	vlapic_pending_set(vpc, lapic, LAPIC_PENDING_EXTINT, is_pending);
}

void vlapic_registers_reset(struct vpc *vpc, struct vlapic *lapic)
{
	bool is_x2apic = vlapic_is_x2apic(lapic);
	uint32_t id = lapic->index;

	vlapic_timer_stop(lapic);
	memset(lapic->regs, 0, sizeof(lapic->regs));
	lapic->irr_summary = lapic->isr_summary = 0;
	lapic->errors = 0;
	lapic->regs[LAPIC_ID] = is_x2apic ? id : id << 24;
	lapic->regs[LAPIC_VERSION] = VERSION;
	lapic->regs[LAPIC_LDR] = is_x2apic ? id >> 4 << 16 | BIT32(id & 15) : 0;
	lapic->regs[LAPIC_DFR] = ~0u;
	lapic->regs[LAPIC_SVR] = SVR_RESET;
	for (unsigned i = LAPIC_LVT_FIRST; i <= LAPIC_LVT_LAST; i++)
		lapic->regs[i] = LAPIC_LVT_MASKED;
	vlapic_update(vpc, lapic);
	vlapic_extint_update(vpc);
}

static struct vlapic *lapic_of(const struct vdev *dev)
{
	return container_of(dev, struct vlapic, dev);
}

/* The power-on state; for vCPU 0 with LINT0 and LINT1 as firmware leaves them. */
static void reset(struct vdev *dev, uint64_t now)
{
	struct vlapic *lapic = lapic_of(dev);
	struct vpc *vpc = vpc_of(dev);

	(void)now;
	lapic->base = VPC_LAPIC_BASE | LAPIC_BASE_ENABLED;
	lapic->is_nmi_pending = false;
	vlapic_registers_reset(vpc, lapic);
	if (lapic->index != 0)
		return;
	lapic->base |= LAPIC_BASE_BSP;
	lapic->regs[LAPIC_LVT_LINT0] = LVT_EXTINT;
	lapic->regs[LAPIC_LVT_LINT1] = LVT_NMI;
	vlapic_extint_update(vpc);
}

static void write_eoi(struct vpc *vpc, struct vlapic *lapic)
{
	int vector = highest(&lapic->regs[LAPIC_ISR], lapic->isr_summary);
	if (vector == NO_VECTOR)
		return;
	word_clear(&lapic->regs[LAPIC_ISR], &lapic->isr_summary, (uint8_t)vector);
	vlapic_update(vpc, lapic);
	if (lapic->regs[LAPIC_TMR + vector / 32] & BIT32((unsigned)vector % 32))
		vioapic_eoi(&vpc->ioapic, (uint8_t)vector);
}

/* Disabling the APIC by software masks all local vectors. */
static void write_svr(struct vpc *vpc, struct vlapic *lapic, uint32_t value)
{
	lapic->regs[LAPIC_SVR] = value & SVR_WRITABLE;
	if (value & LAPIC_SVR_ENABLED)
		return;
	for (unsigned i = LAPIC_LVT_FIRST; i <= LAPIC_LVT_LAST; i++)
		lapic->regs[i] |= LAPIC_LVT_MASKED;
	vlapic_extint_update(vpc);
}

static void write_lvt(struct vpc *vpc, struct vlapic *lapic, unsigned number, uint32_t value)
{
	value &= vlapic_lvt_writable(number);
	if (!(lapic->regs[LAPIC_SVR] & LAPIC_SVR_ENABLED))
		value |= LAPIC_LVT_MASKED;
	if (number == LAPIC_LVT_TIMER) {
		vlapic_timer_lvt_write(vpc, lapic, value);
		return;
	}
	lapic->regs[number] = value;
	vlapic_extint_update(vpc);
}

void vlapic_register_write(struct vpc *vpc, struct vlapic *lapic, unsigned number, uint32_t value,
			   uint64_t now)
{
	uint32_t *reg = &lapic->regs[number];

	switch (number) {
	case LAPIC_EOI: write_eoi(vpc, lapic); break;
	case LAPIC_TPR:
		*reg = value & 0xff;
		vlapic_update(vpc, lapic);
		break;
	case LAPIC_ICR:
		*reg = value & LAPIC_ICR_WRITABLE;
		vlapic_icr_send(vpc, lapic, *reg, lapic->regs[LAPIC_ICR_HIGH] >> 24);
		break;
	case LAPIC_ICR_HIGH: *reg = value & 0xff000000u; break;
	case LAPIC_LDR: *reg = value & LDR_WRITABLE; break;
	case LAPIC_DFR: *reg = value | DFR_FIXED_BITS; break;
	case LAPIC_SVR: write_svr(vpc, lapic, value); break;
	case LAPIC_ESR:
		*reg = lapic->errors;
		lapic->errors = 0;
		break;
	case LAPIC_LVT_TIMER:
	case LAPIC_LVT_THERMAL:
	case LAPIC_LVT_COUNTER:
	case LAPIC_LVT_LINT0:
	case LAPIC_LVT_LINT1:
	case LAPIC_LVT_ERROR: write_lvt(vpc, lapic, number, value); break;
	case LAPIC_TIMER_INITIAL: vlapic_timer_initial_write(vpc, lapic, value, now); break;
	case LAPIC_TIMER_DIVIDE: vlapic_timer_divide_write(vpc, lapic, value, now); break;
	case LAPIC_ID: break; /* read only, as in all APICs that have an x2APIC mode */
	case LAPIC_VERSION:
	case LAPIC_PPR:
	case LAPIC_TIMER_CURRENT: break;
	default: vlapic_error(vpc, lapic, LAPIC_ERROR_REGISTER); break;
	}
}

/*
 * Registers are 32 bits wide and 16 bytes apart. For reads of any size, twelve
 * bytes of zeros follow each register.
 */
uint64_t vlapic_mmio_read(struct vpc *vpc, struct vlapic *lapic, unsigned offset, unsigned size,
			  uint64_t now)
{
	unsigned byte = offset % 16;
	if (offset >= VLAPIC_REG_COUNT * 16 || byte >= 4)
		return 0;
	uint64_t value = vlapic_register_read(vpc, lapic, offset / 16, now) >> 8 * byte;
	return size >= 4 ? value : value & (BIT64(8 * size) - 1);
}

/* A write that does not cover a whole register does nothing. */
void vlapic_mmio_write(struct vpc *vpc, struct vlapic *lapic, unsigned offset, unsigned size,
		       uint64_t value, uint64_t now)
{
	if (size < 4 || offset % 16 != 0 || offset >= VLAPIC_REG_COUNT * 16)
		return;
	if (offset / 16 == LAPIC_SELF_IPI)
		return; /* x2APIC only */
	vlapic_register_write(vpc, lapic, offset / 16, (uint32_t)value, now);
}

static void check_bitmap(const uint32_t *words, uint8_t summary)
{
	for (unsigned i = 0; i < WORD_COUNT; i++)
		Q_ASSERT(((summary & BIT32(i)) != 0) == (words[i] != 0)); /* L1 */
	Q_ASSERT((words[0] & 0xffffu) == 0);                              /* L3 */
}

static void check(const struct vdev *dev)
{
	const struct vlapic *lapic = lapic_of(dev);
	const struct vpc *vpc = vpc_of(dev);

	check_bitmap(&lapic->regs[LAPIC_IRR], lapic->irr_summary);
	check_bitmap(&lapic->regs[LAPIC_ISR], lapic->isr_summary);
	Q_ASSERT(lapic->regs[LAPIC_PPR] == processor_priority(lapic)); /* L2 */
	bool has_extint = lapic->index == 0 && vpc->pic.intr && takes_extint(lapic);
	Q_ASSERT(((lapic->pending & LAPIC_PENDING_APIC) != 0) == is_deliverable(lapic));
	Q_ASSERT(((lapic->pending & LAPIC_PENDING_EXTINT) != 0) == has_extint);
	if (vlapic_is_enabled(lapic))
		return;
	Q_ASSERT(lapic->irr_summary == 0 && lapic->isr_summary == 0); /* L4 */
	Q_ASSERT(bus_timer_deadline(dev) == VDEV_DEADLINE_NONE);
}

static void timer(struct vdev *dev, uint64_t now)
{
	vlapic_timer_fire(vpc_of(dev), lapic_of(dev), now);
}

static const struct vdev_ops lapic_ops = {
	.name = "lapic",
	.reset = reset,
	.timer = timer,
	.check = check,
};

void vlapic_init(struct vlapic *lapic, struct vpc *vpc, unsigned index)
{
	lapic->index = index;
	bus_add(&vpc->bus, &lapic->dev, &lapic_ops);
}
