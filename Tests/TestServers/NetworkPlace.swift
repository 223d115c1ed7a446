import Glibc

/// A host of a network that exists in this process only: a network namespace of the kernel, with one cable.
///
/// The cable is a TUN device: what programs on the host send to others can be read from `cable`, and what is written
/// there reaches them. Nobody names the namespace, so nothing is left of it when this process and the programs that it
/// started there are gone. Needs root and /dev/net/tun.
package final class NetworkPlace: Sendable {
    /// As the network's name server knows it.
    package let name: String
    /// The last octet of its address.
    package let number: UInt8
    package var address: String { "10.77.0.\(number)" }
    /// One IPv4 packet for each read and write; reading does not block.
    package let cable: Int32
    private let namespace: Int32

    /// Its namespace as a file, for programs that this process does not start; good for as long as this process lives.
    package var path: String { "/proc/\(getpid())/fd/\(namespace)" }

    package static let packetOctets = 1400
    private static let home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC)

    /// - Parameter isHere: this process's own namespace gets the cable, so that its sockets are on the network, too.
    package init(_ name: String, _ number: UInt8, isHere: Bool = false) throws {
        (self.name, self.number) = (name, number)
        namespace = isHere ? Self.home : try Self.makeNamespace()
        cable = try Self.within(namespace) { try Self.makeCable(number) }
    }

    /// Runs what opens sockets or starts programs with this thread on the host.
    package func within<Value>(_ body: () throws -> Value) throws -> Value { try Self.within(namespace, body) }

    private static func within<Value>(_ namespace: Int32, _ body: () throws -> Value) throws -> Value {
        try enter(namespace)
        defer { goHome() }
        return try body()
    }

    private static func makeNamespace() throws -> Int32 {
        guard home >= 0, unshare(newNetwork) == 0 else { throw failure("a network namespace") }
        defer { goHome() }
        let namespace = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)
        guard namespace >= 0 else { throw failure("a network namespace's file") }
        return namespace
    }

    private static func enter(_ namespace: Int32) throws {
        guard setns(namespace, newNetwork) == 0 else { throw failure("a way into a network namespace") }
    }

    private static func goHome() {
        // A thread of the pool that stayed elsewhere would take others' sockets there.
        guard setns(home, newNetwork) == 0 else { fatalError("no way back to this process's own network") }
    }

    // MARK: - The kernel's interface

    private static let newNetwork: Int32 = 0x4000_0000
    // Glibc's module has neither of them.
    private static let unshare = function("unshare", as: (@convention(c) (Int32) -> Int32).self)
    private static let setns = function("setns", as: (@convention(c) (Int32, Int32) -> Int32).self)

    private static func function<Function>(_ name: String, as type: Function.Type) -> Function {
        guard let address = dlsym(nil, name) else { fatalError("libc has no \(name)") }
        return unsafeBitCast(address, to: type)
    }

    private static func makeCable(_ number: UInt8) throws -> Int32 {
        let cable = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK)
        guard cable >= 0 else { throw failure("/dev/net/tun") }
        // TUNSETIFF: a device of packets (IFF_TUN) without a heading (IFF_NO_PI).
        try order(cable, 0x4004_54CA, "wire0", [0x01, 0x10], "a TUN device")
        let socket = socket(AF_INET, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        defer { close(socket) }
        let up: [UInt8] = [0x41, 0x00]
        let mtu = withUnsafeBytes(of: Int32(packetOctets)) { Array($0) }
        try order(socket, 0x8914, "lo", up, "loopback")
        try order(socket, 0x8922, "wire0", mtu, "the size of packets")
        // SIOCSIFADDR, SIOCSIFNETMASK: a sockaddr_in.
        try order(socket, 0x8916, "wire0", [UInt8(AF_INET), 0, 0, 0, 10, 77, 0, number], "an address")
        try order(socket, 0x891C, "wire0", [UInt8(AF_INET), 0, 0, 0, 255, 255, 255, 0], "a netmask")
        try order(socket, 0x8914, "wire0", up, "the cable")
        return cable
    }

    /// One ioctl with a `struct ifreq`: a device's name in 16 octets and what is to be set in 24.
    private static func order(
        _ descriptor: Int32, _ request: UInt, _ device: String, _ value: [UInt8], _ what: String
    ) throws {
        var text = Array(device.utf8)
        text += [UInt8](repeating: 0, count: 16 - text.count) + value
        text += [UInt8](repeating: 0, count: 40 - text.count)
        guard text.withUnsafeMutableBytes({ ioctl(descriptor, request, $0.baseAddress!) }) == 0 else {
            throw failure(what)
        }
    }

    private static func failure(_ what: String) -> TestPKI.Failure {
        TestPKI.Failure(what: "\(what): \(String(cString: strerror(errno)))")
    }
}
