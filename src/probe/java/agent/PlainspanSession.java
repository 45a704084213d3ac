// A TLS session as the kernel programs know it: an address, at which the random of its ClientHello is.
//
// Holds: one for each OutputRecord, which each socket and each engine has one of; it goes when that is collected.
package sun.security.ssl;

import java.lang.ref.ReferenceQueue;
import java.lang.ref.WeakReference;
import java.util.concurrent.ConcurrentHashMap;
import jdk.internal.misc.Unsafe;

final class PlainspanSession extends WeakReference<OutputRecord> {
    private static final Unsafe MEMORY = Unsafe.getUnsafe();
    private static final ReferenceQueue<OutputRecord> GONE = new ReferenceQueue<>();
    private static final ConcurrentHashMap<Object, PlainspanSession> ALL = new ConcurrentHashMap<>();

    // The kernel programs look for the random themselves, in the first 256 words and behind the first 64 as far as
    // those are addresses (bpf/parts/hello.bpf.h). So that they find no other session's, nothing else is there.
    private static final long RANDOM_AT = 8;
    private static final long SIZE = 64 * 8;
    private static final long SIZE_WITHOUT = 256 * 8;

    final long address;
    private final int hash;
    /** What is told may miss something: nothing is told any more. */
    private volatile boolean over;

    private PlainspanSession(OutputRecord record, byte[] random) {
        super(record, GONE);
        hash = System.identityHashCode(record);
        long size = random != null ? SIZE : SIZE_WITHOUT;
        address = MEMORY.allocateMemory(size);
        MEMORY.setMemory(address, size, (byte) 0);
        for (int i = 0; random != null && i < random.length && i < 32; i++) {
            MEMORY.putByte(address + RANDOM_AT + i, random[i]);
        }
    }

    /** The session of what is known already, or was not seen from its beginning. */
    static PlainspanSession of(OutputRecord record) {
        PlainspanSession known = ALL.get(new Key(record));
        return known != null ? known : add(record, null);
    }

    /** A session that begins. */
    static void meet(OutputRecord record, byte[] random) {
        if (ALL.get(new Key(record)) == null) {
            add(record, random);
        }
    }

    private static PlainspanSession add(OutputRecord record, byte[] random) {
        for (Object gone = GONE.poll(); gone != null; gone = GONE.poll()) {
            PlainspanSession session = (PlainspanSession) gone;
            ALL.remove(session, session);
            PlainspanTap.over(session.address);
            MEMORY.freeMemory(session.address);
        }
        PlainspanSession session = new PlainspanSession(record, random);
        PlainspanSession known = ALL.putIfAbsent(session, session);
        if (known != null) {
            MEMORY.freeMemory(session.address);
            return known;
        }
        if (random != null) {
            PlainspanTap.made(session.address);
        }
        return session;
    }

    /** Something of the session was not told. */
    static void giveUp(OutputRecord record) {
        try {
            PlainspanSession session = of(record);
            if (!session.over) {
                session.over = true;
                PlainspanTap.over(session.address);
            }
        } catch (Throwable ours) {
            // There is no memory, or no stack, even for this: the next call tries again.
            return;
        }
    }

    /** Nothing is told any more. */
    boolean isOver() {
        return over;
    }

    @Override
    public int hashCode() {
        return hash;
    }

    @Override
    public boolean equals(Object other) {
        if (this == other) {
            return true;
        }
        OutputRecord record = get();
        return record != null && other instanceof PlainspanSession && ((PlainspanSession) other).get() == record;
    }

    /** Finds a session by what it is of, and keeps nothing alive. */
    private static final class Key {
        private final OutputRecord record;

        Key(OutputRecord record) {
            this.record = record;
        }

        @Override
        public int hashCode() {
            return System.identityHashCode(record);
        }

        @Override
        public boolean equals(Object other) {
            return other instanceof PlainspanSession && ((PlainspanSession) other).get() == record;
        }
    }
}
