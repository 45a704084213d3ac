/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The library that is loaded into a JVM, as a JVM TI agent: defines the classes of ../agent, has JSSE's classes
 * rewritten by them, and has the functions that are probed.
 *
 * Holds: it needs no other library, so it loads beside every libc; it does nothing twice; where anything is not as it
 * must be, JSSE stays, or becomes again, as it was, and Agent_OnAttach returns which of the results below it is.
 */
#include <jni.h>
#include <jvmti.h>

/* Names and bytes of the classes, in the order of their definition; written by the build. */
#include "classes.h"

/* src/probe/java/message.rs says what each means. */
enum {
	DONE = 0,
	NO_JVMTI = 100,	   /* the JVM gives no environment for agents */
	REFUSED = 101,	   /* the JVM does not let classes be changed */
	OTHER_AGENT = 102, /* another library of this kind is there already */
	NOT_DEFINED = 103, /* the classes cannot be defined */
	OTHER_JSSE = 104,  /* its JSSE is not one that is known */
	NOT_CHANGED = 105, /* JSSE's classes could not be changed */
};

#define TAP "sun/security/ssl/PlainspanTap"
#define REWRITER "sun/security/ssl/PlainspanRewriter"

/* Bytes that are shown at a time: on the stack, of which the JVM keeps 80 KiB free for native code. */
#define PIECE 16384

/* They begin with a `nop`, which the kernel need not step over. */
#define PROBED __attribute__((noipa, used, visibility("default"), patchable_function_entry(1)))

/* The probed functions have the form of OpenSSL's: the session's address, the bytes, their number; the result is that.
 */

PROBED int plainspan_jsse_read(void *session, const void *bytes, int length)
{
	__asm__ volatile("" : : "r"(session), "r"(bytes) : "memory");
	return length;
}

PROBED int plainspan_jsse_write(void *session, const void *bytes, int length)
{
	__asm__ volatile("" : : "r"(session), "r"(bytes) : "memory");
	return length;
}

PROBED void *plainspan_jsse_new(void *session)
{
	__asm__ volatile("" : : "r"(session) : "memory");
	return session;
}

PROBED void plainspan_jsse_free(void *session)
{
	__asm__ volatile("" : : "r"(session) : "memory");
}

static void tell(jlong session, jboolean write, const void *bytes, jint length)
{
	if (write)
		plainspan_jsse_write((void *)session, bytes, length);
	else
		plainspan_jsse_read((void *)session, bytes, length);
}

/*
 * The native methods of PlainspanTap, by the names that the JVM looks for (JNI specification, "Resolving Native Method
 * Names"): in libraries of agents it does once Agent_OnAttach has returned. Registered ones it would warn of.
 */
#define NATIVE(type, name) JNIEXPORT type JNICALL Java_sun_security_ssl_PlainspanTap_##name

NATIVE(void, bytes)
(JNIEnv *env, jclass class, jlong session, jboolean write, jbyteArray array, jint offset, jint length)
{
	jbyte piece[PIECE];

	(void)class;
	while (length > 0) {
		jint n = length < PIECE ? length : PIECE;

		(*env)->GetByteArrayRegion(env, array, offset, n, piece);
		/* It is thrown in Java, and caught there. */
		if ((*env)->ExceptionCheck(env))
			return;
		tell(session, write, piece, n);
		offset += n;
		length -= n;
	}
}

NATIVE(void, direct)(JNIEnv *env, jclass class, jlong session, jboolean write, jlong address, jint length)
{
	(void)env;
	(void)class;
	tell(session, write, (const void *)address, length);
}

NATIVE(void, made)(JNIEnv *env, jclass class, jlong session)
{
	(void)env;
	(void)class;
	plainspan_jsse_new((void *)session);
}

NATIVE(void, over)(JNIEnv *env, jclass class, jlong session)
{
	(void)env;
	(void)class;
	plainspan_jsse_free((void *)session);
}

/* That it can be called says that the others can. */
NATIVE(void, joined)(JNIEnv *env, jclass class)
{
	(void)env;
	(void)class;
}

static jclass rewriter;
static jmethodID rewrite;
/* The library has been loaded, whatever came of it. */
static int loaded;
static int result;

static int same(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return *a == *b;
}

static int is_ours(const char *name)
{
	return same(name, "sun/security/ssl/SSLEngineImpl") || same(name, "sun/security/ssl/SSLSocketImpl") ||
	       same(name, "sun/security/ssl/SSLSocketImpl$AppOutputStream");
}

static jbyteArray rewritten(JNIEnv *env, const char *name, jint length, const unsigned char *bytes)
{
	jstring text = (*env)->NewStringUTF(env, name);
	jbyteArray file = text ? (*env)->NewByteArray(env, length) : 0;

	if (!file)
		return 0;
	(*env)->SetByteArrayRegion(env, file, 0, length, (const jbyte *)bytes);
	return (*env)->CallStaticObjectMethod(env, rewriter, rewrite, text, file);
}

/* Called for every class that is loaded or changed. A class that is changed by somebody else comes here again. */
static void JNICALL on_class(jvmtiEnv *jvmti, JNIEnv *env, jclass changed, jobject loader, const char *name,
			     jobject domain, jint length, const unsigned char *bytes, jint *new_length,
			     unsigned char **new_bytes)
{
	jbyteArray file;
	unsigned char *copy = 0;

	(void)changed;
	(void)domain;
	if (!name || loader || !is_ours(name) || (*env)->ExceptionCheck(env) || (*env)->PushLocalFrame(env, 8))
		return;
	file = rewritten(env, name, length, bytes);
	if (file && !(*env)->ExceptionCheck(env)) {
		jint size = (*env)->GetArrayLength(env, file);

		if (!(*jvmti)->Allocate(jvmti, size, &copy)) {
			(*env)->GetByteArrayRegion(env, file, 0, size, (jbyte *)copy);
			*new_length = size;
			*new_bytes = copy;
		}
	}
	(*env)->ExceptionClear(env);
	(*env)->PopLocalFrame(env, 0);
}

/* Defines the classes beside JSSE's own. */
static int define(JNIEnv *env)
{
	if ((*env)->FindClass(env, TAP))
		return OTHER_AGENT;
	(*env)->ExceptionClear(env);
	for (unsigned i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
		jclass class =
			(*env)->DefineClass(env, classes[i].name, 0, (const jbyte *)classes[i].bytes, classes[i].size);

		if (!class)
			return NOT_DEFINED;
		if (same(classes[i].name, REWRITER))
			rewriter = (*env)->NewGlobalRef(env, class);
	}
	if (!rewriter)
		return NOT_DEFINED;
	rewrite = (*env)->GetStaticMethodID(env, rewriter, "rewrite", "(Ljava/lang/String;[B)[B");
	return rewrite ? DONE : NOT_DEFINED;
}

#define MOST_CLASSES 8

/* Has JSSE's classes changed, or what was done undone. */
static int change(jvmtiEnv *jvmti, JNIEnv *env)
{
	jmethodID list = (*env)->GetStaticMethodID(env, rewriter, "classes", "()[Ljava/lang/Class;");
	jmethodID complete = list ? (*env)->GetStaticMethodID(env, rewriter, "complete", "()Z") : 0;
	jobjectArray all = complete ? (*env)->CallStaticObjectMethod(env, rewriter, list) : 0;
	jclass classes[MOST_CLASSES];
	jsize count;
	int failed;

	if (!all || (*env)->ExceptionCheck(env))
		return OTHER_JSSE;
	count = (*env)->GetArrayLength(env, all);
	if (count > MOST_CLASSES)
		return OTHER_JSSE;
	for (jsize i = 0; i < count; i++)
		classes[i] = (*env)->GetObjectArrayElement(env, all, i);
	if ((*jvmti)->SetEventNotificationMode(jvmti, JVMTI_ENABLE, JVMTI_EVENT_CLASS_FILE_LOAD_HOOK, 0))
		return REFUSED;
	failed = (*jvmti)->RetransformClasses(jvmti, count, classes) ? NOT_CHANGED : DONE;
	if (!failed && !(*env)->CallStaticBooleanMethod(env, rewriter, complete))
		failed = OTHER_JSSE;
	if (!failed)
		return DONE;
	(*jvmti)->SetEventNotificationMode(jvmti, JVMTI_DISABLE, JVMTI_EVENT_CLASS_FILE_LOAD_HOOK, 0);
	(*jvmti)->RetransformClasses(jvmti, count, classes);
	return failed;
}

static int start(JavaVM *vm)
{
	jvmtiCapabilities wanted = {.can_retransform_classes = 1};
	jvmtiEventCallbacks callbacks = {.ClassFileLoadHook = on_class};
	jvmtiEnv *jvmti = 0;
	JNIEnv *env = 0;
	int failed;

	if ((*vm)->GetEnv(vm, (void **)&env, JNI_VERSION_9) || (*vm)->GetEnv(vm, (void **)&jvmti, JVMTI_VERSION_9))
		return NO_JVMTI;
	if ((*env)->PushLocalFrame(env, 32))
		return NO_JVMTI;
	if ((*jvmti)->AddCapabilities(jvmti, &wanted) ||
	    (*jvmti)->SetEventCallbacks(jvmti, &callbacks, sizeof(callbacks)))
		failed = REFUSED;
	else
		failed = define(env);
	if (!failed)
		failed = change(jvmti, env);
	(*env)->ExceptionClear(env);
	(*env)->PopLocalFrame(env, 0);
	if (failed)
		(*jvmti)->DisposeEnvironment(jvmti);
	return failed;
}

/* Called by the JVM when the library is loaded, which it may be more than once. */
JNIEXPORT jint JNICALL Agent_OnAttach(JavaVM *vm, char *options, void *reserved)
{
	(void)options;
	(void)reserved;
	/* A JVM that had not started is asked again. */
	if (!loaded || result == NO_JVMTI) {
		loaded = 1;
		result = start(vm);
	}
	return result;
}
