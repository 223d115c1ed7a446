import Foundation
import Glibc
import TestServers

/// The name server of a drill's network: knows the names of its hosts, and says of all others that they are not there.
///
/// UDP on port 53 of its host, for as long as this process runs (RFC 1035; addresses of IPv4 only).
final class NameServer: Sendable {
    private let addresses: [String: [UInt8]]
    private let socket: Int32

    init(_ places: [NetworkPlace], at place: NetworkPlace) throws {
        addresses = Dictionary(uniqueKeysWithValues: places.map { ($0.name, [10, 77, 0, $0.number]) })
        socket = try place.within {
            let socket = Glibc.socket(AF_INET, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = UInt16(53).bigEndian
            let isBound = withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
                }
            }
            guard isBound else { throw TestPKI.Failure(what: "port 53 of a host of our own") }
            return socket
        }
        Thread.detachNewThread { [self] in run() }
    }

    private func run() {
        var question = [UInt8](repeating: 0, count: 1500)
        while true {
            var sender = sockaddr_storage()
            var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
            withUnsafeMutablePointer(to: &sender) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { sender in
                    let count = recvfrom(socket, &question, question.count, 0, sender, &length)
                    guard count > 0, let answer = answer(to: Array(question[..<count])) else { return }
                    _ = sendto(socket, answer, answer.count, 0, sender, length)
                }
            }
        }
    }

    /// Nil for what is no question.
    private func answer(to question: [UInt8]) -> [UInt8]? {
        guard question.count > 16, question[5] == 1 else { return nil }
        var labels: [String] = []
        var at = 12
        while question[at] != 0 {
            let end = at + 1 + Int(question[at])
            guard question[at] < 64, end + 4 < question.count else { return nil }
            labels.append(String(decoding: question[at + 1..<end], as: UTF8.self).lowercased())
            at = end
        }
        let end = at + 5
        guard end <= question.count else { return nil }
        let address = addresses[labels.joined(separator: ".")]
        let isAsked = question[at + 1] == 0 && question[at + 2] == 1
        let found = isAsked ? address : nil
        // An authoritative answer: one question, perhaps one address that is good for a second; 3 for an unknown name.
        var answer = Array(question[..<2]) + [0x85, address == nil ? 0x83 : 0x80, 0, 1, 0, found == nil ? 0 : 1]
        answer += [0, 0, 0, 0] + question[12..<end]
        if let found { answer += [0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4] + found }
        return answer
    }
}
