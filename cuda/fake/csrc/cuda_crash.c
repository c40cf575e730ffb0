// The stand-in libcuda: crashes of kernels become errors of the context.
#define _GNU_SOURCE
#include "fake.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <ucontext.h>

#ifndef SI_KERNEL
#define SI_KERNEL 0x80
#endif

static sigjmp_buf escape;
static __thread int guarded;
static const char *guarded_name;
static struct sigaction before[65]; // the handlers that were there, by signal

void fake_escape(void) { siglongjmp(escape, 1); }

static void crashed(int sig, siginfo_t *info, void *context) {
	if (!guarded) { // not ours: the Go runtime's
		struct sigaction *a = &before[sig];
		if (a->sa_flags & SA_SIGINFO)
			a->sa_sigaction(sig, info, context);
		else if (a->sa_handler != SIG_DFL && a->sa_handler != SIG_IGN)
			a->sa_handler(sig);
		else
			signal(sig, SIG_DFL);
		return;
	}
	int misaligned = sig == SIGBUS || (sig == SIGSEGV && info->si_code == SI_KERNEL);
	CUresult code = misaligned ? MISALIGNED_ADDRESS : sig == SIGSEGV ? ILLEGAL_ADDRESS : LAUNCH_FAILED;
	char where[120];
	fake_where(where, sizeof where);
	fake_fault(code, "%s: access to %p%s", guarded_name, info->si_addr, where);
	ucontext_t *c = context;
	pthread_sigmask(SIG_SETMASK, &c->uc_sigmask, 0); // signals are blocked again as they were
	fake_escape();
}

static void catch_crashes(void) {
	static int done;
	if (done++)
		return;
	static const int signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP };
	struct sigaction a = { 0 };
	a.sa_sigaction = crashed;
	a.sa_flags = SA_SIGINFO | SA_ONSTACK;
	sigfillset(&a.sa_mask); // as the Go runtime's handlers want it
	for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
		sigaction(signals[i], &a, &before[signals[i]]);
}

CUresult fake_guarded(const char *name, CUresult (*fn)(void *), void *arg) {
	catch_crashes();
	guarded_name = name;
	CUresult rc;
	if (sigsetjmp(escape, 0) == 0) {
		guarded = 1;
		rc = fn(arg);
	} else
		rc = fake_sticky();
	guarded = 0;
	return rc;
}
