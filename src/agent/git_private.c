/*
 * The private folder of one clone: the answers to what git and ssh ask, each in a file that only their user may read.
 * Nothing of it is in an argument, a URL, an environment variable or the repository's configuration.
 */
#include <stdlib.h>

#include "agent/git.h"
#include "base/limits.h"
#include "os/file.h"

#define CA_MAX_BYTES (8 * MIB)

/*
 * Answers git and ssh. A submodule of another host asks with another name, and gets nothing; neither does a user's name
 * that looks as if a host came behind it. Only what is built into the shell, because it runs twice in each clone.
 */
static const char askpass[] = "#!/bin/sh\n"
			      "d=${0%/*}\n"
			      "read -r s < \"$d/scheme\"; read -r h < \"$d/host\"\n"
			      "case $1 in\n"
			      "\"Username for '$s://$h': \") f=username ;;\n"
			      "\"Password for '$s://\"*[/@]*\"@$h': \") exit 1 ;;\n"
			      "\"Password for '$s://\"*\"@$h': \") f=password ;;\n"
			      /* git-lfs asks the program itself, in words of its own. */
			      "\"Username for \\\"$s://$h\\\"\") f=username ;;\n"
			      "\"Password for \\\"$s://\"*[/@]*\"@$h\\\"\") exit 1 ;;\n"
			      "\"Password for \\\"$s://\"*\"@$h\\\"\") f=password ;;\n"
			      "'Enter passphrase for '*) f=passphrase ;;\n"
			      "*) exit 1 ;;\n"
			      "esac\n"
			      "[ -f \"$d/$f\" ] && IFS= read -r a < \"$d/$f\" && printf '%s\\n' \"$a\"\n";

static bool is_http(const struct git_config *c)
{
	return c->url.scheme == SOURCE_HTTPS || c->url.scheme == SOURCE_HTTP;
}

/* Precedence of features §2.8; what the URL itself carries comes last. */
static void http_credentials(const struct git_config *c, const char **ret_user, const char **ret_password)
{
	const char *user = c->url.user;
	const char *password = c->url.password;
	if (c->auth.access_token) {
		password = c->auth.access_token;
		user = user ? user : "x-access-token";
	} else if (c->auth.user_name || c->auth.password) {
		user = c->auth.user_name ? c->auth.user_name : user;
		password = c->auth.password ? c->auth.password : password;
	} else if (user && !password) {
		/* https://TOKEN@host */
		password = user;
	}
	*ret_user = user;
	*ret_password = password;
}

int git_private_write(struct git *g, const char *name, struct str bytes, mode_t mode, struct err *e)
{
	const char *path = arena_printf(g->a, "%s/git/%s", g->config->dir, name);
	return path ? file_write_new(path, bytes, mode, e) : err_nomem(e);
}

static int write_line(struct git *g, const char *name, const char *text, struct err *e)
{
	const char *line = text ? arena_printf(g->a, "%s\n", text) : NULL;
	if (!text)
		return 0;
	return line ? git_private_write(g, name, str_of(line), 0600, e) : err_nomem(e);
}

/* Keys that were pasted somewhere have lost their last line break, or gained carriage returns; ssh takes neither. */
static int write_key(struct git *g, struct err *e)
{
	_cleanup_buf_ struct buf b;
	buf_init(&b, MIB);
	for (const char *p = g->config->auth.ssh_private_key; *p; p++) {
		if (*p != '\r')
			buf_addc(&b, *p);
	}
	if (b.len && b.data[b.len - 1] != '\n')
		buf_addc(&b, '\n');
	int r = buf_check(&b, "the ssh key", e);
	if (r == 0)
		r = git_private_write(g, "key", buf_str(&b), 0600, e);
	if (b.data)
		explicit_bzero(b.data, b.cap);
	return r;
}

bool git_key_is_locked(const char *key)
{
	/* OpenSSH's own format in base64: its name, and "none" as the cipher. The older ones say it in a header. */
	static const char plain[] = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmU";
	return strstr(key, "ENCRYPTED") || (strstr(key, "OPENSSH PRIVATE KEY") && !strstr(key, plain));
}

static int write_credentials(struct git *g, struct err *e)
{
	const struct git_config *c = g->config;
	const char *user = NULL, *password = NULL;
	int r = git_private_write(g, "askpass", str_of(askpass), 0700, e);
	if (r == 0)
		r = write_line(g, "scheme", c->url.scheme == SOURCE_HTTP ? "http" : "https", e);
	if (r == 0)
		r = write_line(g, "host", is_http(c) ? c->url.host : "none", e);
	if (is_http(c))
		http_credentials(c, &user, &password);
	g->has_password = password != NULL;
	if (r == 0)
		r = write_line(g, "username", user, e);
	if (r == 0)
		r = write_line(g, "password", password, e);
	if (r == 0 && c->auth.ssh_private_key)
		r = write_key(g, e);
	return r < 0 ? r : write_line(g, "passphrase", c->auth.ssh_password, e);
}

/* ssh wants to know who its user is, and starts for nobody else. */
static int write_passwd(struct git *g, struct err *e)
{
	const struct git_config *c = g->config;
	const char *text =
		arena_printf(g->a, "root:x:0:0:root:/root:/bin/sh\nslipway:x:%u:%u:run:%s/git/home:/bin/sh\n",
			     (unsigned)c->uid, (unsigned)c->gid, g->base);
	return text ? git_private_write(g, "passwd", str_of(text), 0644, e) : err_nomem(e);
}

/* "[host]:port" of a URL, or "host", as ssh looks names up. */
static const char *ssh_host(struct git *g)
{
	struct str host = str_of(g->config->url.host);
	const char *end = host.n && host.p[0] == '[' ? memchr(host.p, ']', host.n) : NULL;
	if (end)
		return arena_strndup(g->a, host.p + 1, (size_t)(end - host.p - 1));
	return str_dup(g->a, str_cut(host, ':', &(struct str){ 0 }));
}

/* The key is for the repository's own host; submodules elsewhere do not even see its public half. */
static int write_ssh_config(struct git *g, struct err *e)
{
	const struct git_config *c = g->config;
	_cleanup_buf_ struct buf b;
	buf_init(&b, 16 * KIB);
	if (c->auth.ssh_private_key && c->url.scheme == SOURCE_SSH)
		buf_addf(&b, "Host %s\n\tIdentityFile %s/git/key\n", ssh_host(g), g->base);
	buf_addf(&b,
		 "Host *\n\tIdentityFile none\n\tIdentitiesOnly yes\n\tStrictHostKeyChecking accept-new\n"
		 "\tUserKnownHostsFile %s/git/known_hosts\n\tGlobalKnownHostsFile /etc/ssh/ssh_known_hosts\n"
		 "\tConnectTimeout 30\n\tServerAliveInterval 15\n\tPreferredAuthentications publickey\n"
		 "\tNumberOfPasswordPrompts 1\n\tForwardAgent no\n\tPermitLocalCommand no\n",
		 g->base);
	int r = buf_check(&b, "ssh_config", e);
	return r < 0 ? r : git_private_write(g, "ssh_config", buf_str(&b), 0600, e);
}

/* The authorities that the agent's operator trusts, as a file of ours: git's user may not reach theirs. */
static int write_ca(struct git *g, struct err *e)
{
	static const char *const names[] = { "GIT_SSL_CAINFO", "SSL_CERT_FILE" };
	const char *file = NULL;
	struct str pem;
	for (size_t i = 0; i < ARRAY_SIZE(names) && !file; i++)
		file = getenv(names[i]);
	if (!file || !*file)
		return 0;
	int r = file_read_regular(g->a, file, CA_MAX_BYTES, &pem, e);
	if (r < 0)
		return err_wrap(e, "the agent's GIT_SSL_CAINFO");
	g->has_ca = true;
	return git_private_write(g, "ca.pem", pem, 0600, e);
}

int git_private_fill(struct git *g, struct err *e)
{
	int r = write_passwd(g, e);
	if (r == 0)
		r = write_credentials(g, e);
	if (r == 0)
		r = write_ssh_config(g, e);
	return r < 0 ? r : write_ca(g, e);
}
