/* SPDX-License-Identifier: MIT */
/* How Quire's run ended. Scripts and emulators report it as the exit status. */
#ifndef INCLUDE_QUIRE_EXIT_STATUS_H
#define INCLUDE_QUIRE_EXIT_STATUS_H

enum exit_status {
	EXIT_STATUS_OK = 0,      /* every VM stopped by itself */
	EXIT_STATUS_VM = 1,      /* some VM failed */
	EXIT_STATUS_REFUSED = 2, /* bad configuration, no virtualization, too little memory */
	EXIT_STATUS_PANIC = 3,
};

#endif
