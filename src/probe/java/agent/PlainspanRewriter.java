// Puts PlainspanTap's methods in the place of the calls of which they are told.
//
// Enters: a class file (JVMS chapter 4). Leaves: the same with other operands in a few call instructions, and more
// constants. Holds: no instruction moves and no frame changes, for a call is replaced by one that takes and gives the
// same; what is not as it must be is left as it is.
package sun.security.ssl;

import java.io.ByteArrayOutputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;

final class PlainspanRewriter {
    private static final String TAP = "sun/security/ssl/PlainspanTap";
    private static final String BUFFERS = "[Ljava/nio/ByteBuffer;II[Ljava/nio/ByteBuffer;II";

    private static final int UTF8 = 1;
    private static final int CLASS = 7;
    private static final int METHOD = 10;
    private static final int INTERFACE_METHOD = 11;
    private static final int NAME_AND_TYPE = 12;
    private static final int INVOKEVIRTUAL = 182;
    private static final int INVOKESTATIC = 184;

    /** A call in a class: all like it are replaced, and there must be one. */
    private static final class Call {
        final String in;
        final String of;
        final String name;
        final String descriptor;
        final int opcode;
        volatile boolean replaced;

        Call(String in, String of, String name, String descriptor, int opcode) {
            this.in = "sun/security/ssl/" + in;
            this.of = "sun/security/ssl/" + of;
            this.name = name;
            this.descriptor = descriptor;
            this.opcode = opcode;
        }

        /** What a static method has that takes and gives the same. */
        String staticDescriptor() {
            return opcode == INVOKESTATIC ? descriptor : "(L" + of + ";" + descriptor.substring(1);
        }
    }

    private static final String DECODE =
            "(Lsun/security/ssl/TransportContext;" + BUFFERS + ")Lsun/security/ssl/Plaintext;";
    private static final Call[] CALLS = {
        new Call("SSLEngineImpl", "SSLTransport", "decode", DECODE, INVOKESTATIC),
        new Call("SSLEngineImpl", "OutputRecord", "encode", "(" + BUFFERS + ")Lsun/security/ssl/Ciphertext;",
                INVOKEVIRTUAL),
        new Call("SSLSocketImpl", "SSLTransport", "decode", DECODE, INVOKESTATIC),
        new Call("SSLSocketImpl$AppOutputStream", "OutputRecord", "deliver", "([BII)V", INVOKEVIRTUAL),
    };

    private final byte[] file;
    private final ByteBuffer in;
    private final String name;
    /** Where each constant begins. */
    private int[] constants;
    /** By constant: the index of what is called instead; 0: the same. */
    private int[] instead;

    private PlainspanRewriter(String name, byte[] file) {
        this.name = name;
        this.file = file;
        this.in = ByteBuffer.wrap(file);
    }

    /** The classes that are rewritten, loaded and not initialised. Called from native code. */
    static Class<?>[] classes() throws ReflectiveOperationException {
        expect("TransportContext", "handshakeContext", HandshakeContext.class);
        expect("TransportContext", "isNegotiated", boolean.class);
        expect("TransportContext", "outputRecord", OutputRecord.class);
        expect("HandshakeContext", "clientHelloRandom", RandomCookie.class);
        expect("RandomCookie", "randomBytes", byte[].class);
        return new Class<?>[] {load("SSLEngineImpl"), load("SSLSocketImpl"), load("SSLSocketImpl$AppOutputStream")};
    }

    private static void expect(String type, String field, Class<?> is) throws ReflectiveOperationException {
        if (load(type).getDeclaredField(field).getType() != is) {
            throw new NoSuchFieldException(field);
        }
    }

    private static Class<?> load(String name) throws ClassNotFoundException {
        return Class.forName("sun.security.ssl." + name, false, null);
    }

    /** All calls were found. Called from native code. */
    static boolean complete() {
        for (Call call : CALLS) {
            if (!call.replaced) {
                return false;
            }
        }
        return true;
    }

    /** The class with its calls replaced; null where there are none. Called from native code. */
    static byte[] rewrite(String name, byte[] file) throws IOException {
        return new PlainspanRewriter(name, file).rewrite();
    }

    private byte[] rewrite() throws IOException {
        int end = readConstants();
        ByteArrayOutputStream added = new ByteArrayOutputStream();
        int count = addConstants(new DataOutputStream(added));
        if (count == constants.length || count > 0xffff) {
            return null;
        }
        in.position(end + 6);
        in.position(in.position() + 2 + 2 * u2(in.position()));
        members(false);
        members(true);
        ByteArrayOutputStream out = new ByteArrayOutputStream(file.length + added.size());
        out.write(file, 0, 8);
        out.write(count >> 8);
        out.write(count);
        out.write(file, 10, end - 10);
        added.writeTo(out);
        out.write(file, end, file.length - end);
        return out.toByteArray();
    }

    /** Gives the place behind the constants. */
    private int readConstants() {
        constants = new int[u2(8)];
        instead = new int[constants.length];
        int at = 10;
        for (int i = 1; i < constants.length; i++) {
            constants[i] = at;
            int tag = file[at];
            if (tag == UTF8) {
                at += 3 + u2(at + 1);
            } else if (tag == 5 || tag == 6) {
                at += 9;
                i++;
            } else if (tag == CLASS || tag == 8 || tag == 16 || tag == 19 || tag == 20) {
                at += 3;
            } else if (tag == 15) {
                at += 4;
            } else {
                at += 5;
            }
        }
        return at;
    }

    /** Adds what is called instead, and gives the number of constants. */
    private int addConstants(DataOutputStream out) throws IOException {
        int next = constants.length;
        for (Call call : CALLS) {
            if (!call.in.equals(name)) {
                continue;
            }
            for (int i = 1; i < constants.length; i++) {
                if (!is(i, call)) {
                    continue;
                }
                utf8(out, TAP);
                utf8(out, call.name);
                utf8(out, call.staticDescriptor());
                pair(out, CLASS, next, -1);
                pair(out, NAME_AND_TYPE, next + 1, next + 2);
                pair(out, METHOD, next + 3, next + 4);
                instead[i] = next + 5;
                next += 6;
            }
        }
        return next;
    }

    private boolean is(int constant, Call call) {
        int at = constants[constant];
        if (at == 0 || file[at] != METHOD && file[at] != INTERFACE_METHOD) {
            return false;
        }
        int nameAndType = constants[u2(at + 3)];
        return text(u2(constants[u2(at + 1)] + 1)).equals(call.of)
                && text(u2(nameAndType + 1)).equals(call.name)
                && text(u2(nameAndType + 3)).equals(call.descriptor);
    }

    /** Fields or methods; of methods the code is changed. */
    private void members(boolean methods) {
        for (int left = in.getShort() & 0xffff; left > 0; left--) {
            in.position(in.position() + 6);
            for (int attributes = in.getShort() & 0xffff; attributes > 0; attributes--) {
                String attribute = text(in.getShort() & 0xffff);
                int length = in.getInt();
                int at = in.position();
                if (methods && attribute.equals("Code")) {
                    code(at + 8, in.getInt(at + 4));
                }
                in.position(at + length);
            }
        }
    }

    private void code(int from, int length) {
        for (int at = from; at < from + length; at += instruction(at, from)) {
            int opcode = file[at] & 0xff;
            if (opcode != INVOKEVIRTUAL && opcode != INVOKESTATIC) {
                continue;
            }
            int constant = u2(at + 1);
            if (instead[constant] == 0) {
                continue;
            }
            for (Call call : CALLS) {
                if (call.in.equals(name) && call.opcode == opcode && is(constant, call)) {
                    file[at] = (byte) INVOKESTATIC;
                    in.putShort(at + 1, (short) instead[constant]);
                    call.replaced = true;
                }
            }
        }
    }

    /** Length of the instruction (JVMS section 6.5). */
    private int instruction(int at, int from) {
        int opcode = file[at] & 0xff;
        if (opcode == 170 || opcode == 171) {
            int operands = at + 4 - (at - from & 3);
            int entries = opcode == 171
                    ? 2 + 2 * in.getInt(operands + 4)
                    : 3 + in.getInt(operands + 8) - in.getInt(operands + 4) + 1;
            return operands + 4 * entries - at;
        }
        if (opcode == 196) {
            return (file[at + 1] & 0xff) == 132 ? 6 : 4;
        }
        if (opcode == 185 || opcode == 186 || opcode == 200 || opcode == 201) {
            return 5;
        }
        if (opcode == 197) {
            return 4;
        }
        boolean three = opcode == 17 || opcode == 19 || opcode == 20 || opcode == 132
                || opcode >= 153 && opcode <= 168 || opcode >= 178 && opcode <= 184 || opcode == 187
                || opcode == 189 || opcode == 192 || opcode == 193 || opcode == 198 || opcode == 199;
        if (three) {
            return 3;
        }
        boolean two = opcode == 16 || opcode == 18 || opcode >= 21 && opcode <= 25
                || opcode >= 54 && opcode <= 58 || opcode == 169 || opcode == 188;
        return two ? 2 : 1;
    }

    private int u2(int at) {
        return in.getShort(at) & 0xffff;
    }

    private String text(int constant) {
        int at = constants[constant];
        return new String(file, at + 3, u2(at + 1), StandardCharsets.UTF_8);
    }

    private static void utf8(DataOutputStream out, String text) throws IOException {
        out.writeByte(UTF8);
        out.writeUTF(text);
    }

    /** A constant of one index, or of two. */
    private static void pair(DataOutputStream out, int tag, int first, int second) throws IOException {
        out.writeByte(tag);
        out.writeShort(first);
        if (second >= 0) {
            out.writeShort(second);
        }
    }
}
