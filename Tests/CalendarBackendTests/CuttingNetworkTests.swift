import CalDAVClient
import CalendarBackend
import TestServers
import Testing

/// A real server behind a network that cuts at random octets.
@Suite("Writes through a network that cuts", .enabled(if: TestCalendarServer.isInstalled))
struct CuttingNetworkTests {
    private static func fault(_ random: inout SeededGenerator) -> FaultRelay.Fault {
        switch Int.random(in: 0..<5, using: &random) {
        case 0: .none
        case 1: .refuse
        default: .cutAfter(Int.random(in: 1...900, using: &random))
        }
    }

    @Test("Edits are each there once, and none undoes another", arguments: [123, 124] as [UInt64])
    func edits(_ seed: UInt64) async throws {
        var random = SeededGenerator(seed: seed)
        let relay = try await FaultRelay(to: try await TestCalendarServer.radicale.value.port)
        let url = "http://127.0.0.1:\(relay.port)"
        let client = try CalDAVGround.client(url)
        let server = try await CalDAVGround.radicale()
        let calendar = try await CalDAVGround.calendar(of: BackendGround.alice, on: server, client)
        let ground = BackendGround(backend: client, calendar: calendar)
        let href = try await ground.add("one.ics", TestEvent())
        var failures = 0
        for edit in 0..<25 {
            let mark = "X-EDIT:[\(edit)]"
            while true {
                do {
                    relay.set(Self.fault(&random))
                    // Gone it is never, whatever is cut.
                    let object = try await ground.read(href)
                    if object.text.contains(mark) { break }
                    let etag = try #require(object.etag)
                    let text = String(decoding: object.octets, as: UTF8.self).replacing(
                        "END:VEVENT", with: "\(mark)\r\nEND:VEVENT")
                    relay.set(Self.fault(&random))
                    // Whatever comes of it, also a conflict with a write whose answer was cut: the next read tells.
                    _ = try await client.put(Array(text.utf8), at: href, in: calendar, .match(etag))
                } catch let error as CalendarError {
                    #expect([.serverAway, .protocolViolation].contains(error.reason), "seed \(seed): \(error)")
                    failures += 1
                }
            }
        }
        relay.set(.none)
        let text = try await ground.read(href).text
        for edit in 0..<25 {
            #expect(text.ranges(of: "X-EDIT:[\(edit)]").count == 1, "seed \(seed), after \(failures) failures")
        }
        #expect(failures > 20, "seed \(seed): the network hardly cut")
        await client.close()
        await relay.close()
    }

    @Test("What a round of changes tells through such a network is whole or an error", arguments: [125] as [UInt64])
    func changes(_ seed: UInt64) async throws {
        var random = SeededGenerator(seed: seed)
        let relay = try await FaultRelay(to: try await TestCalendarServer.radicale.value.port)
        let client = try CalDAVGround.client("http://127.0.0.1:\(relay.port)")
        let calendar = try await CalDAVGround.calendar(of: BackendGround.alice, on: CalDAVGround.radicale(), client)
        let ground = BackendGround(backend: client, calendar: calendar)
        for number in 0..<12 { try await ground.add("\(number).ics", TestEvent()) }
        let whole = try await client.changes(in: calendar, since: nil)
        let members = Set(try await client.members(of: calendar))
        var told = 0
        for round in 0..<60 {
            relay.set(.cutAfter(Int.random(in: 1...6000, using: &random)))
            do {
                if round.isMultiple(of: 2) {
                    #expect(try await client.changes(in: calendar, since: nil) == whole, "seed \(seed)")
                } else {
                    #expect(Set(try await client.members(of: calendar)) == members, "seed \(seed)")
                }
                told += 1
            } catch let error as CalendarError {
                #expect([.serverAway, .protocolViolation].contains(error.reason), "seed \(seed): \(error)")
            }
        }
        #expect((5..<55).contains(told), "seed \(seed): \(told) of 60 were told")
        await client.close()
        await relay.close()
    }
}
