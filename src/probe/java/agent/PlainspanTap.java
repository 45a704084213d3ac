// What stands in the place of three calls of JSSE's own code, through which all plaintext goes.
//
// Enters: the arguments of the call. Leaves: what the call gives, always, and a copy of the plaintext for the native
// functions, where the kernel programs see it. Holds: nothing of ours is thrown into the program; a session of which
// something could not be told is not told of any more, so that no bytes are missing in between.
//
// The class is of the package sun.security.ssl, for the calls and the handshake's random are known there alone.
package sun.security.ssl;

import java.io.IOException;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import sun.nio.ch.DirectBuffer;

final class PlainspanTap {
    private static volatile boolean joined;

    private PlainspanTap() {}

    /** The native functions can be called: they can a moment after JSSE's classes were changed. */
    private static boolean isJoined() {
        if (joined) {
            return true;
        }
        try {
            joined();
            joined = true;
            return true;
        } catch (Throwable ours) {
            return false;
        }
    }

    /** In place of {@code SSLTransport.decode}: one record of a socket or an engine is opened. */
    static Plaintext decode(TransportContext context, ByteBuffer[] srcs, int srcsOffset, int srcsLength,
            ByteBuffer[] dsts, int dstsOffset, int dstsLength) throws IOException {
        meet(context);
        Object before = positions(dsts, dstsOffset, dstsLength);
        Plaintext plaintext = SSLTransport.decode(
                context, srcs, srcsOffset, srcsLength, dsts, dstsOffset, dstsLength);
        meet(context);
        if (before != null) {
            tell(context.outputRecord, false, before, dsts, dstsOffset, dstsLength);
        }
        return plaintext;
    }

    /** In place of {@code OutputRecord.encode}: records of an engine are made. */
    static Ciphertext encode(OutputRecord record, ByteBuffer[] srcs, int srcsOffset, int srcsLength,
            ByteBuffer[] dsts, int dstsOffset, int dstsLength) throws IOException {
        Object before = positions(srcs, srcsOffset, srcsLength);
        Ciphertext ciphertext = record.encode(srcs, srcsOffset, srcsLength, dsts, dstsOffset, dstsLength);
        if (before != null) {
            tell(record, true, before, srcs, srcsOffset, srcsLength);
        }
        return ciphertext;
    }

    /** In place of {@code OutputRecord.deliver}: records of a socket are made and sent. */
    static void deliver(OutputRecord record, byte[] source, int offset, int length) throws IOException {
        try {
            if (length > 0 && isJoined()) {
                PlainspanSession session = PlainspanSession.of(record);
                if (!session.isOver()) {
                    bytes(session.address, true, source, offset, length);
                }
            }
        } catch (Throwable ours) {
            PlainspanSession.giveUp(record);
        }
        record.deliver(source, offset, length);
    }

    /** A session is known from its handshake on, by the random of its ClientHello. */
    private static void meet(TransportContext context) {
        try {
            HandshakeContext handshake = context.handshakeContext;
            if (handshake != null && handshake.clientHelloRandom != null && !context.isNegotiated && isJoined()) {
                PlainspanSession.meet(context.outputRecord, handshake.clientHelloRandom.randomBytes);
            }
        } catch (Throwable ours) {
            PlainspanSession.giveUp(context.outputRecord);
        }
    }

    /** Where the buffers are, or why that is not known; null where there are none. */
    private static Object positions(ByteBuffer[] buffers, int offset, int length) {
        try {
            if (buffers == null || length <= 0 || !isJoined()) {
                return null;
            }
            int[] positions = new int[length];
            for (int i = 0; i < length; i++) {
                positions[i] = buffers[offset + i].position();
            }
            return positions;
        } catch (Throwable ours) {
            return ours;
        }
    }

    /** What the buffers have behind the positions before, up to where they are now. */
    private static void tell(OutputRecord record, boolean write, Object before, ByteBuffer[] buffers, int offset,
            int length) {
        try {
            int[] positions = (int[]) before;
            int moved = 0;
            for (int i = 0; i < length; i++) {
                moved += buffers[offset + i].position() - positions[i];
            }
            if (moved == 0) {
                return;
            }
            PlainspanSession session = PlainspanSession.of(record);
            if (session.isOver()) {
                return;
            }
            for (int i = 0; i < length; i++) {
                tell(session, write, buffers[offset + i], positions[i]);
            }
        } catch (Throwable ours) {
            PlainspanSession.giveUp(record);
        }
    }

    private static void tell(PlainspanSession session, boolean write, ByteBuffer buffer, int from) {
        int length = buffer.position() - from;
        if (length == 0) {
            return;
        }
        if (buffer.hasArray()) {
            bytes(session.address, write, buffer.array(), buffer.arrayOffset() + from, length);
        } else if (buffer.isDirect()) {
            direct(session.address, write, ((DirectBuffer) buffer).address() + from, length);
            Reference.reachabilityFence(buffer);
        } else {
            byte[] copy = new byte[length];
            ByteBuffer view = buffer.duplicate();
            view.position(from);
            view.get(copy, 0, length);
            bytes(session.address, write, copy, 0, length);
        }
    }

    /** The functions that are probed, native/tap.c. */
    static native void bytes(long session, boolean write, byte[] array, int offset, int length);

    static native void direct(long session, boolean write, long address, int length);

    static native void made(long session);

    static native void over(long session);

    private static native void joined();
}
