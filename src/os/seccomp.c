#include <asm/ioctls.h>
#include <errno.h>
#include <linux/sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <unistd.h>

#include "os/sandbox.h"

/*
 * A deny list: a run may be any program of the user's, and an allow list would break some of them. What is here either
 * widens the kernel's surface (new user namespaces make all of it reachable) or reaches past the sandbox. A call that
 * the library's tables do not know on this architecture is skipped.
 */
static const char *const refused[] = {
	"mount",
	"umount",
	"umount2",
	"pivot_root",
	"move_mount",
	"open_tree",
	"fsopen",
	"fsconfig",
	"fsmount",
	"fspick",
	"mount_setattr",
	"setns",
	"keyctl",
	"add_key",
	"request_key",
	"bpf",
	"perf_event_open",
	"userfaultfd",
	"kexec_load",
	"kexec_file_load",
	"init_module",
	"finit_module",
	"delete_module",
	"create_module",
	"swapon",
	"swapoff",
	"reboot",
	"acct",
	"quotactl",
	"quotactl_fd",
	"nfsservctl",
	"lookup_dcookie",
	"uselib",
	"iopl",
	"ioperm",
	"vhangup",
	"open_by_handle_at",
	"settimeofday",
	"clock_settime",
	"clock_adjtime",
	"adjtimex",
	"syslog",
};

static int rules(scmp_filter_ctx ctx)
{
	const uint32_t eperm = SCMP_ACT_ERRNO(EPERM);
	int r = 0;
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(refused); i++) {
		int number = seccomp_syscall_resolve_name(refused[i]);
		if (number != __NR_SCMP_ERROR)
			r = seccomp_rule_add(ctx, eperm, number, 0);
	}
	const struct scmp_arg_cmp new_user = SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_NEWUSER, CLONE_NEWUSER);
	if (r == 0)
		r = seccomp_rule_add(ctx, eperm, SCMP_SYS(unshare), 1, new_user);
#if defined(__s390__)
#error "clone has its flags in the second argument here"
#endif
	if (r == 0)
		r = seccomp_rule_add(ctx, eperm, SCMP_SYS(clone), 1, new_user);
	/* Its flags are behind a pointer. ENOSYS makes every C library fall back to clone. */
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	/* Would push bytes into a terminal that somebody outside reads. The kernel looks at the lower 32 bits only. */
	if (r == 0)
		r = seccomp_rule_add(ctx, eperm, SCMP_SYS(ioctl), 1, SCMP_A1(SCMP_CMP_MASKED_EQ, 0xFFFFFFFFU, TIOCSTI));
	if (r == 0)
		r = seccomp_rule_add(ctx, eperm, SCMP_SYS(ioctl), 1,
				     SCMP_A1(SCMP_CMP_MASKED_EQ, 0xFFFFFFFFU, TIOCLINUX));
	return r;
}

int sandbox_seccomp(int *ret_fd, struct err *e)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
	if (!ctx)
		return err_nomem(e);
	/* Programs of another architecture (32 bit) would pass by the rules: their calls do not exist. */
	int r = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));
	if (r == 0)
		r = rules(ctx);
	int fd = -1;
	if (r == 0) {
		fd = memfd_create("seccomp", MFD_CLOEXEC);
		r = fd < 0 ? -errno : seccomp_export_bpf(ctx, fd);
		if (r == 0 && lseek(fd, 0, SEEK_SET) != 0)
			r = -errno;
	}
	seccomp_release(ctx);
	if (r != 0) {
		if (fd >= 0)
			close(fd);
		errno = -r;
		return err_errno(e, "cannot make the system call filter");
	}
	*ret_fd = fd;
	return 0;
}
