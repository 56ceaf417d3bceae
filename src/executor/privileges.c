#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "executor/executor.h"

#define CAPABILITIES_MAX 64

/* No program that is started from here on can get one back, whoever its user is. */
static int empty_bounding_set(struct err *e)
{
	for (int i = 0; i < CAPABILITIES_MAX; i++) {
		if (prctl(PR_CAPBSET_READ, i, 0, 0, 0) == 1 && prctl(PR_CAPBSET_DROP, i, 0, 0, 0) != 0)
			return err_errno(e, "cannot drop capability %d", i);
	}
	return 0;
}

int privileges_drop(uint32_t uid, uint32_t gid, struct err *e)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { 0 };
	const gid_t groups[] = { gid };
	int r = empty_bounding_set(e);
	if (r < 0)
		return r;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return err_errno(e, "cannot give up new privileges");
	if (setgroups(1, groups) != 0 || setresgid(gid, gid, gid) != 0 || setresuid(uid, uid, uid) != 0)
		return err_errno(e, "cannot become user %u", uid);
	if (syscall(SYS_capset, &head, none) != 0)
		return err_errno(e, "cannot drop capabilities");
	/* The change of user undid it. */
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	return 0;
}
