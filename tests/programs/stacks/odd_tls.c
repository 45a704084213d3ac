/*
 * A program whose functions have the names of OpenSSL's and do something else: they take a number for the session, and
 * return more bytes than they were asked for. Prints "ready", and calls them for ten seconds.
 */
#include <stdio.h>
#include <unistd.h>

__attribute__((noinline)) int SSL_read(void *ssl, void *buf, int num)
{
	__asm__ volatile("" ::"r"(ssl), "r"(buf) : "memory");
	return num * 2;
}

__attribute__((noinline)) int SSL_write(void *ssl, const void *buf, int num)
{
	__asm__ volatile("" ::"r"(ssl), "r"(buf) : "memory");
	return num + 1;
}

int main(void)
{
	char buf[64] = "";

	puts("ready");
	fflush(stdout);
	for (int i = 0; i < 100; i++) {
		SSL_read((void *)7, buf, sizeof(buf));
		SSL_write((void *)7, buf, sizeof(buf));
		usleep(100000);
	}
	return 0;
}
