import Hummingbird
import WireText

/// Registration of devices; each has an event socket of its own.
struct DeviceRoutes {
    let services: CoreServices

    func add(to router: some RouterMethods<CoreRequestContext>) {
        router.post("devices") { request, context -> Response in try await register(request, context) }
        router.get("devices") { _, context -> Response in
            let devices = try await services.store.devices(of: context.user())
            return .json { json in
                json.name("items")
                json.beginArray()
                for device in devices { write(device, to: &json) }
                json.endArray()
            }
        }
        router.delete("devices/:id") { _, context -> Response in
            let device = try await services.device(context.id(), of: context.user())
            try await services.store.deleteDevice(device.id)
            services.devices.forget(device.id)
            services.events.remove(device.id)
            return Response(status: .noContent)
        }
    }

    private func register(_ request: Request, _ context: CoreRequestContext) async throws -> Response {
        let owner = try context.user()
        guard case .user(let email, let name) = context.principal?.kind else {
            throw Refusal(.forbidden, "this needs the token of a user")
        }
        let body = try await RequestJSON(request)
        let device = DeviceRecord(
            id: UUIDText.random(), owner: owner, name: try body.text("name", maximum: 200),
            type: try body.text("deviceType", maximum: 100), created: services.wall())
        try await services.store.register(device, email: email, name: name)
        var json = JSONWriter()
        write(device, to: &json)
        return .json(.created, json.text())
    }

    private func write(_ device: DeviceRecord, to json: inout JSONWriter) {
        json.beginObject()
        json.member("url", services.urls.device(device.id))
        json.member("webSocketUrl", services.urls.webSocket(ofDevice: device.id))
        json.member("userId", device.owner.user)
        json.member("id", device.id)
        json.member("name", device.name)
        json.member("deviceType", device.type)
        json.member("created", device.created.iso8601)
        json.endObject()
    }
}
