// Switching between stacks. fake_switch keeps the callee-saved registers on the
// stack that is left, stores its top in *from and goes on where the stack `to`
// was left. fake_stack prepares a stack that starts in a function which never returns.
#ifndef FAKE_SWITCH_H
#define FAKE_SWITCH_H

#include <stddef.h>
#include <stdint.h>

#if (defined(__x86_64__) || defined(__aarch64__)) && !defined(FAKE_UCONTEXT)
__attribute__((visibility("hidden"))) void fake_switch(void **from, void *to);

#if defined(__x86_64__)
__asm__(".text\n"
        ".globl fake_switch\n"
        ".hidden fake_switch\n"
        ".type fake_switch, @function\n"
        "fake_switch:\n"
        "  endbr64\n"
        "  pushq %rbp\n  pushq %rbx\n  pushq %r12\n  pushq %r13\n  pushq %r14\n  pushq %r15\n"
        "  movq %rsp, (%rdi)\n"
        "  movq %rsi, %rsp\n"
        "  popq %r15\n  popq %r14\n  popq %r13\n  popq %r12\n  popq %rbx\n  popq %rbp\n"
        "  ret\n"
        ".size fake_switch, .-fake_switch\n");

static inline void *fake_stack(char *base, size_t size, void (*run)(void)) {
	uintptr_t *top = (uintptr_t *)((uintptr_t)(base + size) & ~(uintptr_t)15);
	*--top = 0;              // where run would return to, and the alignment of a call
	*--top = (uintptr_t)run; // where fake_switch returns to
	for (int i = 0; i < 6; i++)
		*--top = 0;
	return top;
}
#else
__asm__(".text\n"
        ".globl fake_switch\n"
        ".hidden fake_switch\n"
        ".type fake_switch, %function\n"
        "fake_switch:\n"
        "  sub sp, sp, #160\n"
        "  stp x19, x20, [sp]\n  stp x21, x22, [sp, #16]\n  stp x23, x24, [sp, #32]\n"
        "  stp x25, x26, [sp, #48]\n  stp x27, x28, [sp, #64]\n  stp x29, x30, [sp, #80]\n"
        "  stp d8, d9, [sp, #96]\n  stp d10, d11, [sp, #112]\n"
        "  stp d12, d13, [sp, #128]\n  stp d14, d15, [sp, #144]\n"
        "  mov x9, sp\n"
        "  str x9, [x0]\n"
        "  mov sp, x1\n"
        "  ldp x19, x20, [sp]\n  ldp x21, x22, [sp, #16]\n  ldp x23, x24, [sp, #32]\n"
        "  ldp x25, x26, [sp, #48]\n  ldp x27, x28, [sp, #64]\n  ldp x29, x30, [sp, #80]\n"
        "  ldp d8, d9, [sp, #96]\n  ldp d10, d11, [sp, #112]\n"
        "  ldp d12, d13, [sp, #128]\n  ldp d14, d15, [sp, #144]\n"
        "  add sp, sp, #160\n"
        "  ret\n"
        ".size fake_switch, .-fake_switch\n");

static inline void *fake_stack(char *base, size_t size, void (*run)(void)) {
	uintptr_t *top = (uintptr_t *)((uintptr_t)(base + size) & ~(uintptr_t)15);
	top -= 20;
	for (int i = 0; i < 20; i++)
		top[i] = 0;
	top[11] = (uintptr_t)run; // x30
	return top;
}
#endif

#else // any other processor
#include <ucontext.h>

static inline void fake_switch(void **from, void *to) {
	ucontext_t here;
	*from = &here;
	swapcontext(&here, to);
}

// The context lies at the top of its stack.
static inline void *fake_stack(char *base, size_t size, void (*run)(void)) {
	size_t rest = (size - sizeof(ucontext_t)) & ~(size_t)63;
	ucontext_t *c = (ucontext_t *)(base + rest);
	getcontext(c);
	c->uc_stack.ss_sp = base;
	c->uc_stack.ss_size = rest;
	c->uc_link = 0;
	makecontext(c, run, 0);
	return c;
}
#endif

#endif
