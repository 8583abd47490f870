// The suite's origin server, on a free port of the loopback interface. Prints the port.
//
// The suite itself listens on every interface.
import http from 'node:http'

const listen = http.Server.prototype.listen
http.Server.prototype.listen = function () {
  this.on('listening', () => console.log(`port ${this.address().port}`))
  return listen.call(this, 0, '127.0.0.1')
}
process.env.npm_config_protocol = 'http'
process.env.npm_config_port = '8000' // Only in URLs that it parses.
process.env.npm_config_pidfile = '/dev/null'
const suite = process.argv[2]
await import(`${suite}/server/server.mjs`)
