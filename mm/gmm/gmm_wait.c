/* SPDX-License-Identifier: MIT */
/*
 * Waiting for memory: which VMs get unclaimed pages when there are not enough for
 * all that ask.
 *
 * A VM that was refused memory waits. Its turn comes by priority, and among
 * equals by how long it has waited. While any VM waits, unclaimed pages (without
 * those that are kept for sharing) go
 *
 *   to the first waiter,
 *   to running VMs of a higher priority than the first waiter,
 *   and to no other VM: all others are refused, and so come to wait behind it.
 *
 * Otherwise a running VM that asks often would take each page that comes back
 * before a waiting one has looked. A VM inside its reservation needs no turn: the
 * pages that it claims are there (G9).
 *
 * The states of a VM. Each says what it may have beyond its claim, then what ends it:
 *
 *   runs           Every unclaimed page, if no VM of the same or a higher priority
 *                  waits; else nothing. gmm_wait_begin() ends it.
 *   waits, first   Every unclaimed page. gmm_wait_end() and gmm_vm_destroy() end it,
 *                  and so does a waiter of a higher priority (gmm_wait_update()).
 *   waits, behind  Nothing. gmm_wait_update() ends it when it becomes the first;
 *                  gmm_wait_end() and gmm_vm_destroy() end it as well.
 *
 * A VM's place in the queue is a ticket number. GMM keeps the first waiter, so that
 * an allocation asks in constant time. Waits begin and end rarely, and only then
 * does GMM look at all VMs.
 *
 * Invariants, asserted by gmm_check():
 *   W1  Only live VMs have tickets; no two have the same, and none is above
 *       gmm.wait_ticket.
 *   W2  gmm.first_waiter has, of all VMs with a ticket, the highest priority,
 *       and of those the lowest ticket. It is QUIRE if and only if no VM waits.
 */
#include "mm/gmm/gmm.h"

#include <quire/assert.h>

#include "gmm_internal.h"

/* True if, of two waiters, `a` is served before `b`. */
static bool is_before(const struct gmm_vm *a, const struct gmm_vm *b)
{
	if (a->priority != b->priority)
		return a->priority > b->priority;
	return a->wait_ticket < b->wait_ticket;
}

void gmm_wait_update(void)
{
	gmm_vm_t first = GMM_VM_QUIRE;

	for (gmm_vm_t vm = 1; vm <= GMM_VM_LAST; vm++) {
		if (!gmm.vms[vm].wait_ticket)
			continue;
		if (first == GMM_VM_QUIRE || is_before(&gmm.vms[vm], &gmm.vms[first]))
			first = vm;
	}
	gmm.first_waiter = first;
}

/* True if the VM may have unclaimed pages. */
static bool has_turn(gmm_vm_t handle) Q_REQUIRES(gmm.set_lock)
{
	if (gmm.first_waiter == GMM_VM_QUIRE || gmm.first_waiter == handle)
		return true;
	/* W2: a VM that waits itself is not above the first. */
	return gmm.vms[handle].priority > gmm.vms[gmm.first_waiter].priority;
}

uint64_t gmm_pages_for(gmm_vm_t vm)
{
	uint64_t own = gmm_vm_claims(gmm_vm_find(vm)).base;

	/* G17: its own chunks hold its whole promise. */
	if (gmm_vm_find(vm)->is_bound)
		return ~0ull;
	/* G9: at least what is claimed is available. */
	uint64_t unclaimed = gmm_available_pages() - gmm.claims.base;
	if (unclaimed <= gmm.kept_for_sharing || !has_turn(vm))
		return own;
	return own + unclaimed - gmm.kept_for_sharing;
}

void gmm_wait_begin(gmm_vm_t vm)
{
	spin_lock(&gmm.set_lock);
	if (!gmm_vm_find(vm)->wait_ticket) {
		gmm.vms[vm].wait_ticket = ++gmm.wait_ticket;
		gmm_wait_update();
	}
	spin_unlock(&gmm.set_lock);
}

void gmm_wait_end_locked(gmm_vm_t vm)
{
	gmm_vm_find(vm)->wait_ticket = 0;
	gmm_wait_update();
}

void gmm_wait_end(gmm_vm_t vm)
{
	spin_lock(&gmm.set_lock);
	gmm_wait_end_locked(vm);
	spin_unlock(&gmm.set_lock);
}

gmm_vm_t gmm_wait_first(void)
{
	spin_lock(&gmm.set_lock);
	gmm_vm_t first = gmm.first_waiter;
	spin_unlock(&gmm.set_lock);
	return first;
}

/* --- checks --------------------------------------------------------------------------------- */

/* W1 */
static void ticket_check(gmm_vm_t handle) Q_REQUIRES(gmm.set_lock)
{
	const struct gmm_vm *vm = &gmm.vms[handle];

	Q_ASSERT(vm->is_live && vm->wait_ticket <= gmm.wait_ticket);
	for (gmm_vm_t other = 1; other < handle; other++)
		Q_ASSERT(gmm.vms[other].wait_ticket != vm->wait_ticket);
}

void gmm_wait_check(void)
{
	const struct gmm_vm *first = &gmm.vms[gmm.first_waiter];
	bool has_waiter = false;

	for (gmm_vm_t vm = 1; vm <= GMM_VM_LAST; vm++) {
		if (!gmm.vms[vm].wait_ticket)
			continue;
		ticket_check(vm);
		has_waiter = true;
		/* W2: no waiter is before the first. */
		Q_ASSERT(first->wait_ticket && !is_before(&gmm.vms[vm], first));
	}
	Q_ASSERT(has_waiter == (gmm.first_waiter != GMM_VM_QUIRE));
}
