#include <asm/ioctls.h>
#include <errno.h>
#include <linux/sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/socket.h>
#include <unistd.h>

#include "os/sandbox.h"

/*
 * A deny list: a run may be any program of the user's, and an allow list would break some of them. What is here either
 * widens the kernel's surface (new user namespaces make all of it reachable) or reaches past the sandbox. Most of it takes
 * capabilities that a run does not have; it is refused all the same, because the way out of a sandbox is a fault in such a
 * check. A call that the library's tables do not know on this architecture is skipped, unless it has a number here:
 * newer calls have the same one everywhere.
 */
static const struct {
	const char *name;
	int error;
	int number; /* 0: as the library says */
} refused[] = {
	/* mounts and roots */
	{ "mount", EPERM, 0 },
	{ "umount", EPERM, 0 },
	{ "umount2", EPERM, 0 },
	{ "pivot_root", EPERM, 0 },
	{ "chroot", EPERM, 0 },
	{ "move_mount", EPERM, 0 },
	{ "open_tree", EPERM, 0 },
	{ "open_tree_attr", EPERM, 467 },
	{ "fsopen", EPERM, 0 },
	{ "fsconfig", EPERM, 0 },
	{ "fsmount", EPERM, 0 },
	{ "fspick", EPERM, 0 },
	{ "mount_setattr", EPERM, 0 },
	{ "open_by_handle_at", EPERM, 0 },
	/* namespaces; the flags of clone and unshare are below. Those of clone3 are behind a pointer: ENOSYS makes every C
	 * library fall back to clone. */
	{ "setns", EPERM, 0 },
	{ "clone3", ENOSYS, 0 },
	/* keys: they are not of a namespace */
	{ "keyctl", EPERM, 0 },
	{ "add_key", EPERM, 0 },
	{ "request_key", EPERM, 0 },
	/* programs and memory of the kernel, and what most of the ways into it went through; libuv and others do without
	 * io_uring where there is none */
	{ "bpf", EPERM, 0 },
	{ "perf_event_open", EPERM, 0 },
	{ "userfaultfd", EPERM, 0 },
	{ "io_uring_setup", ENOSYS, 0 },
	{ "io_uring_enter", ENOSYS, 0 },
	{ "io_uring_register", ENOSYS, 0 },
	{ "kexec_load", EPERM, 0 },
	{ "kexec_file_load", EPERM, 0 },
	{ "init_module", EPERM, 0 },
	{ "finit_module", EPERM, 0 },
	{ "delete_module", EPERM, 0 },
	{ "create_module", EPERM, 0 },
	{ "query_module", EPERM, 0 },
	{ "get_kernel_syms", EPERM, 0 },
	{ "modify_ldt", EPERM, 0 },
	{ "vm86", EPERM, 0 },
	{ "vm86old", EPERM, 0 },
	{ "uselib", EPERM, 0 },
	{ "lookup_dcookie", EPERM, 0 },
	{ "nfsservctl", EPERM, 0 },
	{ "sysfs", EPERM, 0 },
	{ "_sysctl", EPERM, 0 },
	/* other processes. Debuggers, strace and sanitizers take ptrace: a run's processes may trace each other, and process 1,
	 * which holds the plan and the way to the agent, is closed to it (executor/main.c). */
	{ "process_madvise", EPERM, 0 },
	{ "pidfd_getfd", EPERM, 0 },
	{ "kcmp", EPERM, 0 },
	{ "move_pages", EPERM, 0 },
	{ "migrate_pages", EPERM, 0 },
	/* the machine */
	{ "swapon", EPERM, 0 },
	{ "swapoff", EPERM, 0 },
	{ "reboot", EPERM, 0 },
	{ "acct", EPERM, 0 },
	{ "quotactl", EPERM, 0 },
	{ "quotactl_fd", EPERM, 0 },
	{ "iopl", EPERM, 0 },
	{ "ioperm", EPERM, 0 },
	{ "vhangup", EPERM, 0 },
	{ "settimeofday", EPERM, 0 },
	{ "stime", EPERM, 0 },
	{ "clock_settime", EPERM, 0 },
	{ "clock_adjtime", EPERM, 0 },
	{ "adjtimex", EPERM, 0 },
	{ "sethostname", EPERM, 0 },
	{ "setdomainname", EPERM, 0 },
	{ "syslog", EPERM, 0 },
};

static const unsigned namespaces[] = { CLONE_NEWUSER, CLONE_NEWNS,  CLONE_NEWPID,   CLONE_NEWNET,
				       CLONE_NEWIPC,  CLONE_NEWUTS, CLONE_NEWCGROUP };

/* Of a terminal: bytes pushed into one that somebody outside reads, and line disciplines, which load modules. */
static const unsigned controls[] = { TIOCSTI, TIOCLINUX, TIOCSETD };

/* Addresses of the network, of the host itself and of the interfaces' list. The others are old protocols whose modules
 * the kernel loads when asked, the kernel's ciphers, and the hypervisor (AF_VSOCK). */
static const int families[] = { AF_UNSPEC, AF_UNIX, AF_INET, AF_INET6, AF_NETLINK };

static int refuse_socket(scmp_filter_ctx ctx)
{
	const uint32_t unknown = SCMP_ACT_ERRNO(EAFNOSUPPORT);
	int highest = families[ARRAY_SIZE(families) - 1];
	int r = seccomp_rule_add(ctx, unknown, SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_GT, (scmp_datum_t)highest));
	for (int family = 0; r == 0 && family < highest; family++) {
		bool known = false;
		for (size_t i = 0; i < ARRAY_SIZE(families); i++)
			known = known || families[i] == family;
		if (!known)
			r = seccomp_rule_add(ctx, unknown, SCMP_SYS(socket), 1,
					     SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)family));
	}
	return r;
}

/* Personalities other than Linux's own, with or without 32 bits of `uname` and a fixed layout (setarch), bring back what
 * newer kernels protect from. All bits set asks for the one in force. One rule takes one comparison of an argument, so
 * each bit has its own: it is set and the highest is not, or it is not set and the highest is. */
static int refuse_personality(scmp_filter_ctx ctx)
{
	const unsigned fine = PER_LINUX32 | UNAME26 | ADDR_NO_RANDOMIZE, top = 1u << 31;
	int r = 0;
	for (unsigned bit = 1; r == 0 && bit != top; bit <<= 1) {
		if (!(fine & bit))
			r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(personality), 1,
					     SCMP_A0(SCMP_CMP_MASKED_EQ, top | bit, bit));
		if (r == 0)
			r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(personality), 1,
					     SCMP_A0(SCMP_CMP_MASKED_EQ, top | bit, top));
	}
	return r;
}

static int rules(scmp_filter_ctx ctx)
{
	const uint32_t eperm = SCMP_ACT_ERRNO(EPERM);
	int r = 0;
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(refused); i++) {
		int number = seccomp_syscall_resolve_name(refused[i].name);
		if (number == __NR_SCMP_ERROR)
			number = refused[i].number ? refused[i].number : __NR_SCMP_ERROR;
		if (number != __NR_SCMP_ERROR)
			r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO((uint32_t)refused[i].error), number, 0);
	}
#if defined(__s390__)
#error "clone has its flags in the second argument here"
#endif
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(namespaces); i++) {
		const struct scmp_arg_cmp flag = SCMP_A0(SCMP_CMP_MASKED_EQ, namespaces[i], namespaces[i]);
		r = seccomp_rule_add(ctx, eperm, SCMP_SYS(unshare), 1, flag);
		if (r == 0)
			r = seccomp_rule_add(ctx, eperm, SCMP_SYS(clone), 1, flag);
	}
	/* In clone this bit is a part of the signal's number. */
	if (r == 0)
		r = seccomp_rule_add(ctx, eperm, SCMP_SYS(unshare), 1,
				     SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_NEWTIME, CLONE_NEWTIME));
	/* The kernel looks at the lower 32 bits only. */
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(controls); i++)
		r = seccomp_rule_add(ctx, eperm, SCMP_SYS(ioctl), 1,
				     SCMP_A1(SCMP_CMP_MASKED_EQ, 0xFFFFFFFFU, controls[i]));
	if (r == 0)
		r = refuse_personality(ctx);
	return r == 0 ? refuse_socket(ctx) : r;
}

int sandbox_seccomp(int *ret_fd, struct err *e)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
	if (!ctx)
		return err_nomem(e);
	/* Programs of another architecture (32 bit) would pass by the rules: their calls do not exist. */
	int r = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));
	/* A tree of comparisons, not a chain of them: every call of every program goes through it. */
	if (r == 0)
		r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
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
