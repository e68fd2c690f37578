#Requires -Version 5.1
<#
.SYNOPSIS
Removes scope-agent: service, event source, environments, config and state. Data that was acquired is not touched.
.DESCRIPTION
Run as administrator. It refuses while acquisitions wait that were not delivered yet.
#>
[CmdletBinding()]
param(
    # Remove it although acquisitions wait that are not delivered. Their files stay where they are.
    [switch]$EvenIfNotDelivered,
    # Keep config, state, journals and logs.
    [switch]$KeepData,
    [string]$InstallDir = (Join-Path $env:ProgramFiles 'scope-agent'),
    [string]$DataDir = (Join-Path $env:ProgramData 'scope-agent')
)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$me = [Security.Principal.WindowsPrincipal][Security.Principal.WindowsIdentity]::GetCurrent()
if (-not $me.IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)) {
    Write-Host 'scope-agent: run this as administrator'
    exit 1
}

$newest = Get-ChildItem -Directory -Path $InstallDir -ErrorAction SilentlyContinue |
    Sort-Object -Property CreationTime -Descending | Select-Object -First 1
if ($newest) {
    $program = Join-Path $newest.FullName 'Scripts\scope-agent.exe'
    $configFile = Join-Path $DataDir 'config.toml'
    $arguments = @('service', 'uninstall')
    if (Test-Path $configFile) { $arguments += @('-c', $configFile) }
    if ($EvenIfNotDelivered) { $arguments += '--even-if-not-delivered' }
    & $program @arguments
    if ($LASTEXITCODE -ne 0) { exit $LASTEXITCODE }
}

Remove-Item -Recurse -Force -Path $InstallDir -ErrorAction SilentlyContinue
if (-not $KeepData) { Remove-Item -Recurse -Force -Path $DataDir -ErrorAction SilentlyContinue }
[Environment]::SetEnvironmentVariable('SCOPE_AGENT_CONFIG', $null, 'Machine')
Write-Host 'scope-agent is removed; hooks in the environments of acquisition software: scope-agent hook uninstall --python EXE'
exit 0
